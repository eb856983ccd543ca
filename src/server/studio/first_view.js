/** The first things one sees: examples to begin with, words that the model knows, its card; on the stage while it is empty. */
import * as api from './api.js';
import { store } from './store.js';
import { el, button, iconButton } from './dom.js';
import { icon } from './icons.js';
import { complain } from './announce.js';
import { modelOf, takeIn } from './documents.js';
import { refreshForm, setOption } from './form.js';
import { choosePictures, pastePicture } from './imports.js';
import { factWords } from './option_words.js';
import { cardOf, commonWords, knowsWords } from './model_card.js';
import { chooseTask } from './navigation.js';
import { taskOf } from './tasks/index.js';
import { sizeWords, t } from './words.js';

const kFew = 8; // examples on the empty stage
const pictures = new Map(); // url -> promise of {blob, src}

function pictureAt(url) {
  if (!pictures.has(url)) pictures.set(url, api.example(url).then((blob) => ({ blob, src: URL.createObjectURL(blob) })));
  return pictures.get(url);
}

const wordsOf = ({ text, name }) => text ?? name.replaceAll('_', ' ');

async function openExample(example) {
  try {
    const { blob } = await pictureAt(example.url);
    document.getElementById('card-dialog').close();
    await takeIn(blob, wordsOf(example));
    document.getElementById('stage').focus({ preventScroll: true });
  } catch (error) {
    complain(error);
  }
}

function exampleButton(example, captioned) {
  const image = el('img', { alt: '', width: 64, height: 64 });
  pictureAt(example.url).then(({ src }) => { image.src = src; }, () => {});
  return el('li', {}, el('button', { type: 'button', class: 'example', 'aria-label': t('Open the example {name}', { name: wordsOf(example) }), title: wordsOf(example), 'data-key': example.url, on: { click: () => openExample(example) } },
    image, captioned ? el('span', { dir: 'auto' }, wordsOf(example)) : null));
}

const examplesOf = (card, most, captioned) => (card?.examples.length
  ? el('ul', { class: captioned ? 'examples captioned' : 'examples', 'aria-label': t('Examples to open') }, spread(card.examples, most).map((example) => exampleButton(example, captioned))) : null);

/** So many of a list, from all over it. */
function spread(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, k) => list[Math.floor((k * list.length) / most)]);
}

/** A tap puts the words into the prompt. */
function chips(card) {
  const put = (word) => {
    const { options } = store.get();
    const prompt = (options.prompt ?? '').trim();
    setOption('prompt', prompt && !prompt.includes(word) ? `${prompt}${prompt.includes(':') ? ', ' : ': '}${word}` : word);
    store.set({ drawer: true });
    refreshForm();
    document.getElementById('card-dialog').close();
  };
  return el('ul', { class: 'chips', 'aria-label': t('Words from its examples') }, commonWords(card).map((word) => el('li', {}, button(word, () => put(word), { class: 'small chip', 'data-key': `chip-${word}`, dir: 'auto' }))));
}

/** What the empty stage says. */
export function firstView(state) {
  const task = taskOf(state);
  const card = cardOf(state.model);
  const model = modelOf(state);
  const from = task.id === 'generate';
  const generate = from ? null : button(t('Generate'), () => chooseTask('generate'), { icon: 'generate', 'data-key': 'empty-generate' });
  return el('div', { class: card?.examples.length ? 'with-examples' : '' },
    card?.examples.length ? examplesOf(card, kFew, false) : icon('sheet'),
    el('h2', {}, from ? t('From nothing, or from a picture') : t('No picture yet')),
    el('p', { class: 'muted' }, from ? t('The button below the options makes new pictures. Or open one and paint over what should change.') : t('Take one of these, open or paste your own, or let the model make one.')),
    el('div', { class: 'row' }, button(t('Open a picture'), choosePictures, { icon: 'open', 'data-key': 'empty-open' }), button(t('Paste'), pastePicture, { icon: 'paste', 'data-key': 'empty-paste' }), generate),
    from && model?.condition === 'text' && card ? chips(card) : null);
}

const plain = (text) => text.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]/g, '');

function factsOf(model) {
  const { defaults } = model;
  const facts = [
    [t('Size'), t('{size} pixels', { size: sizeWords(model.width, model.height) })], [t('Cells'), t('{grid}, each {size} pixels', { grid: sizeWords(model.grid[1], model.grid[0]), size: sizeWords(model.factor, model.factor) })], [t('Codes'), String(model.codebook_size)],
    [t('Takes'), { none: t('pictures alone'), text: t('words'), class: t('classes') }[model.condition]], [t('Fills by'), model.has_prior ? [defaults.sampler, factWords('steps', defaults.steps), factWords('temperature', defaults.temperature)].join(', ') : t('no prior yet')],
  ];
  return el('dl', { class: 'card-facts number' }, facts.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

/** The model's card in a dialog. */
export function showCard() {
  const state = store.get();
  const model = modelOf(state);
  const dialog = document.getElementById('card-dialog');
  if (!model) return;
  const card = cardOf(model.name);
  const { first, knows } = knowsWords(card);
  dialog.replaceChildren(
    el('header', {}, el('h2', { id: 'card-title', translate: 'no' }, model.name), iconButton('close', t('Close'), () => dialog.close())),
    el('div', { class: 'fields' }, first ? el('p', { dir: 'auto' }, plain(first)) : null, knows ? el('p', { dir: 'auto' }, plain(knows)) : null, factsOf(model)),
    model.condition === 'text' && card ? el('div', { class: 'fields' }, el('h3', {}, t('Words from its examples')), chips(card)) : '',
    card?.examples.length ? el('div', { class: 'fields' }, el('h3', {}, t('Examples')), examplesOf(card, 24, true)) : '');
  dialog.showModal();
}

export function startCard(opener) {
  opener.addEventListener('click', showCard);
}

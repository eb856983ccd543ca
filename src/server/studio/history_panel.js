/** The side panel of the history. */
import { store } from './store.js';
import { el, button, iconButton, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { download, offerDrag } from './export.js';
import { again, copyCommand, copyLink, forget, forgetAll, reopen, show } from './history.js';
import { factWords } from './option_words.js';
import { timeWords } from './player.js';
import { locale, t } from './words.js';

const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' });

export function when(time) {
  const today = new Date().toDateString() === new Date(time).toDateString();
  return today ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`;
}

const nameOf = (entry, k) => `${entry.task}-${entry.request.seed ?? 0}-${k + 1}.png`;

/** The options in force: what was asked, and what the model decided. */
export function factsOf({ request, effective, seconds }) {
  const asked = { ...(effective ?? {}), ...request };
  const facts = [factWords('seed', request.seed ?? 0)];
  if (asked.steps) facts.push(factWords('steps', asked.steps));
  if (asked.temperature !== undefined) facts.push(factWords('temperature', asked.temperature));
  if (asked.sampler) facts.push(asked.sampler);
  for (const name of ['top_p', 'top_k', 'typical_p', 'context_guidance', 'cfg_scale', 'strength', 'stride', 'class']) if (request[name] !== undefined) facts.push(factWords(name, request[name]));
  if (seconds) facts.push(timeWords(seconds));
  return facts.join(' · ');
}

function row(entry) {
  const pictures = entry.pictures.map((picture, k) => {
    const element = el('button', { type: 'button', 'aria-label': t('{title}, picture {number}: show', { title: entry.title, number: k + 1 }), on: { click: () => show(entry, k) } }, el('img', { src: picture.url, alt: '', draggable: 'true' }));
    offerDrag(element, () => ({ blob: picture.blob, url: picture.url, name: nameOf(entry, k) }));
    return element;
  });
  const act = (name, label, run, disabled = false) => iconButton(name, label, run, { class: 'small', disabled, 'data-key': `${entry.key}-${name}` });
  return el('li', { class: 'entry' },
    el('div', { class: 'entry-head' }, el('h3', {}, entry.title), el('time', { datetime: new Date(entry.time).toISOString() }, when(entry.time))),
    el('div', { class: 'pictures' }, pictures),
    entry.request.prompt ? el('p', { class: 'entry-prompt', dir: 'auto' }, entry.request.prompt) : null,
    el('p', { class: 'facts number' }, factsOf(entry)),
    el('div', { class: 'actions' },
      button(t('Another seed'), () => again(entry), { icon: 'dice', class: 'small quiet', 'data-key': `${entry.key}-again` }),
      entry.task === 'fill' ? null : act('restore', t('Set it up again'), () => reopen(entry)),
      act('download', entry.pictures.length > 1 ? t('Download all') : t('Download'), () => entry.pictures.forEach((picture, k) => download({ url: picture.url, name: nameOf(entry, k) }))),
      entry.command ? act('terminal', t('Copy as command line'), () => copyCommand(entry)) : null,
      act('link', t('Copy a link that reproduces it'), () => copyLink(entry)),
      act('trash', t('Remove from the history'), () => forget(entry))));
}

function content(state) {
  if (!state.history.length) return [el('h2', { class: 'visually-hidden' }, t('History')), el('div', { class: 'empty-note' }, icon('restore'), el('p', {}, t('What you make is kept here, in this browser, with its seed and options.')))];
  return [
    el('h2', { class: 'visually-hidden' }, t('History')),
    el('ol', { class: 'history' }, state.history.map(row)),
    el('div', { class: 'history-foot' }, button(t('Clear the history'), forgetAll, { class: 'small quiet', icon: 'trash', 'data-key': 'clear-history' })),
  ];
}

/** The history of this browser, until the server's takes its place. Returns what ends it. */
export function startHistoryPanel(panel) {
  return store.on(['history', 'panel'], (state) => {
    if (state.panel === 'history') replaceKeepingFocus(panel, ...content(state));
  });
}

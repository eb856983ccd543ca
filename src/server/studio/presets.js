/** Sets of options under a name, in this browser: everything that is set but the seed. */
import { store } from './store.js';
import { el, button, fold, iconButton } from './dom.js';
import { announce, toast } from './announce.js';
import { refreshForm } from './form.js';
import { keptOptions } from './model_switch.js';
import { modelOf } from './documents.js';
import { t } from './words.js';

const kKey = 'tessera-presets';
const kMost = 60;
const kLetters = 40; // of a name
let draft = ''; // the name that is being written

/** [{name, options}], in the order of their names. */
export function presets() {
  try {
    const kept = JSON.parse(localStorage.getItem(kKey) ?? '[]');
    return Array.isArray(kept) ? kept.filter(({ name, options }) => typeof name === 'string' && typeof options === 'object' && options) : [];
  } catch {
    return []; // written by something else
  }
}

function keep(list) {
  try {
    localStorage.setItem(kKey, JSON.stringify([...list].sort((a, b) => a.name.localeCompare(b.name)).slice(0, kMost)));
  } catch {
    toast(t('This browser keeps nothing: the preset is gone with the page.'));
  }
  refreshForm();
}

function save() {
  const name = draft.trim().slice(0, kLetters);
  if (!name) {
    toast(t('Give the preset a name first.'));
    return;
  }
  const { seed, ...options } = store.get().options;
  void seed;
  const others = presets().filter((preset) => preset.name !== name);
  const known = others.length < presets().length;
  draft = '';
  keep([...others, { name, options }]);
  announce(known ? t('{name} is saved anew', { name }) : t('{name} is saved', { name }));
}

/** What it sets is set, all else is the model's again; the seed stays as it is. */
function apply({ name, options }) {
  const state = store.get();
  const { seed } = state.options;
  store.set({ options: { ...keptOptions(options, modelOf(state)), ...(seed === undefined ? {} : { seed }) } });
  refreshForm();
  announce(t('{name} is set', { name }));
}

function remove(preset) {
  keep(presets().filter(({ name }) => name !== preset.name));
  toast(t('{name} was removed.', { name: preset.name }), { action: { label: t('Undo'), run: () => keep([...presets().filter(({ name }) => name !== preset.name), preset]) } });
}

/** A part of every task's form. */
export function presetsForm() {
  const list = presets();
  const input = el('input', { class: 'input', id: 'preset-name', maxlength: kLetters, dir: 'auto', placeholder: t('Name'), 'aria-label': t('Name of the preset'), 'data-key': 'preset-name',
    on: { input: () => { draft = input.value; }, keydown: (event) => { if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) save(); } } });
  input.value = draft;
  return fold('presets', t('Presets'),
      list.length ? el('ul', { class: 'presets' }, list.map((preset) => el('li', {},
        button(preset.name, () => apply(preset), { class: 'small quiet', dir: 'auto', 'data-key': `preset-${preset.name}` }),
        iconButton('trash', t('Remove {name}', { name: preset.name }), () => remove(preset), { class: 'small', 'data-key': `preset-remove-${preset.name}` }))))
        : el('p', { class: 'field-help' }, t('All options as they are set now, the seed apart, under a name.')),
      el('div', { class: 'preset-line' }, input, button(t('Save'), save, { class: 'small', 'data-key': 'preset-save' })));
}

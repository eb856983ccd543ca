/** The fields of the side panel. Each maker gives an element; values go to the store as they are entered. */
import { store } from './store.js';
import { el, button, iconButton } from './dom.js';
import { fieldOf, isOpen, isUsed, optionOf, valueOf } from './fields.js';
import { modelOf } from './documents.js';
import { toast } from './announce.js';
import { countWords, exampleWords } from './prompt_words.js';
import { taskOption } from './tasks/index.js';
import { t } from './words.js';

const setTaskOption = (task, name, value) => {
  const { taskOptions } = store.get();
  store.set({ taskOptions: { ...taskOptions, [task]: { ...taskOptions[task], [name]: value } } });
};
/** Draws the form anew: for what changes which fields there are. */
export const refreshForm = () => store.set({ form: {} });
export const setOption = (name, value) => store.set({ options: { ...store.get().options, [name]: value } });
export function unsetOption(name) {
  const { [name]: gone, ...options } = store.get().options;
  void gone;
  store.set({ options });
}

const describe = (help, id) => (help ? el('p', { class: 'field-help', id: `${id}-help` }, help) : null);
const described = (help, id) => (help ? `${id}-help` : undefined);

/** open: words for a value that the model decides, until it is moved. */
function range(id, { label, min, max, step, value, show, help, set, open }) {
  const read = el('output', { class: 'number muted', for: id }, open ?? (show ? show(value) : String(value)));
  const input = el('input', {
    type: 'range', id, min, max, step, props: { value }, 'data-key': id, 'aria-describedby': described(help, id), 'aria-valuetext': open ?? (show ? show(value) : undefined),
    on: { input: () => {
      const now = Number(input.value);
      read.textContent = show ? show(now) : String(now);
      if (show) input.setAttribute('aria-valuetext', show(now));
      else input.removeAttribute('aria-valuetext');
      set(now);
    } },
  });
  input.value = value;
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), read), input, describe(help, id));
}

/** The nearest number that the field takes. */
export function fittedNumber(wanted, { min, max, step }) {
  const stepped = min + Math.round((wanted - min) / step) * step;
  const most = min + Math.floor((max - min) / step) * step;
  return Math.min(most, Math.max(min, stepped));
}

/** Taken when the entry is finished; one that does not fit becomes the nearest that does, and that is said. An empty one goes back. */
export function numberInput(id, { min, max, step = 1, value, set, extra = '', label, placeholder }) {
  let taken = value ?? '';
  const input = el('input', {
    type: 'number', id, class: `input number ${extra}`, min, max, step, inputmode: 'numeric', 'data-key': id, 'aria-label': label, placeholder,
    on: { change: () => {
      if (input.value === '') { input.value = taken; return; }
      const wanted = Number(input.value);
      const fitted = fittedNumber(wanted, { min, max, step });
      if (fitted !== wanted) {
        input.value = fitted;
        toast(step === 1 ? t('{wanted} became {fitted}: from {min} to {max}.', { wanted, fitted, min, max }) : t('{wanted} became {fitted}: from {min} to {max} in steps of {step}.', { wanted, fitted, min, max, step }));
      }
      if (fitted === taken) return;
      taken = fitted;
      set(fitted);
    } },
  });
  input.value = taken;
  return input;
}

function number(id, { label, min, max, step, value, help, set }) {
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), numberInput(id, { min, max, step, value, set })), describe(help, id));
}

/** choices: [[value, words]] */
function choice(id, { label, choices, value, help, set }) {
  const input = el('select', { id, class: 'select', 'data-key': id, 'aria-describedby': described(help, id), on: { change: () => set(input.value) } },
    choices.map(([name, words]) => el('option', { value: name }, words)));
  input.value = value;
  return el('div', { class: 'field' }, el('label', { for: id }, label), input, describe(help, id));
}

function segments(id, { label, choices, value, set }) {
  return el('div', { class: 'field-line' }, el('span', { class: 'field-label', id: `${id}-label` }, label),
    el('div', { class: 'segments', role: 'radiogroup', 'aria-labelledby': `${id}-label` }, choices.map(([name, words]) => {
      const input = el('input', { type: 'radio', name: id, value: name, checked: name === value, 'data-key': `${id}-${name}`, on: { change: () => set(name) } });
      return el('label', {}, input, el('span', {}, words));
    })));
}

const kEarlier = 6; // prompts to have again

/** Prompts of the history, the newest first. */
function earlierWords(present, set) {
  const known = [...new Set(store.get().history.map(({ request }) => request.prompt).filter((words) => words && words !== present))].slice(0, kEarlier);
  if (!known.length) return null;
  return el('details', { class: 'more earlier' }, el('summary', {}, t('Earlier words')),
    el('ul', {}, known.map((words) => el('li', {}, button(words, () => set(words), { class: 'small quiet', dir: 'auto', 'data-key': `earlier-${words}` })))));
}

function text(id, { label, value, set, counted, example, model, rows = 2 }) {
  const count = counted ? el('output', { class: 'number muted word-count', id: `${id}-count`, for: id }) : null;
  const left = counted ? el('p', { class: 'field-help left-out', id: `${id}-left`, hidden: true }) : null;
  const input = el('textarea', {
    id, class: rows < 2 ? 'input one-line' : 'input', rows, dir: 'auto', placeholder: example ? exampleWords(model) : undefined, 'data-key': id, 'aria-describedby': counted ? `${id}-count ${id}-left` : undefined,
    on: { input: () => { set(input.value); if (counted) countWords(model, input.value, count, left); } },
  });
  input.value = value;
  if (counted) countWords(model, value, count, left);
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), count), input, left, example ? earlierWords(value, (words) => { set(words); refreshForm(); }) : null);
}

/** A new one for each run, until it is locked; a typed one is. */
function seed(id, { label, value, help, set }) {
  const locked = value !== undefined;
  const { seedUsed } = store.get();
  const lock = (number) => { set(number); refreshForm(); };
  const input = numberInput(id, { min: 0, max: Number.MAX_SAFE_INTEGER, value: locked ? value : '', set: lock, placeholder: seedUsed === null ? t('new') : String(seedUsed) });
  const toggle = iconButton(locked ? 'lock' : 'unlock', locked ? t('Locked: each run uses this seed') : t('Lock the seed'), () => {
    if (!locked) lock(seedUsed ?? newSeed());
    else { unsetOption('seed'); refreshForm(); }
  }, { 'aria-pressed': String(locked), 'data-key': `${id}-lock` });
  const roll = locked ? iconButton('dice', t('Another seed'), () => lock(newSeed()), { 'data-key': `${id}-dice` }) : null;
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), el('div', { class: 'seed-line' }, input, roll, toggle)), describe(help, id));
}

/** Of a run that is not told one. */
export const newSeed = () => Math.floor(Math.random() * 1e6);

const makers = { range, number, choice, segment: segments, text, seed };

/** An option of sampling; null where the model or the chosen sampler has no use for it. */
export function optionField(state, task, name) {
  const model = modelOf(state);
  const field = fieldOf(name, model);
  if (!field || (field.when && !field.when(model)) || !isUsed(state, name, task)) return null;
  if (task.without?.includes(name)) return null;
  const open = isOpen(state, name);
  const own = task.canvas ? t('by the model') : null; // on a canvas of another size it decides anew
  let choices = valueOf(field.choices, model)?.map((value) => [value, valueOf(field.words, model)?.[value] ?? String(value)]);
  if (choices && choices.length < 2) return null;
  let value = optionOf(state, name, task);
  if (field.kind === 'choice' && !('off' in field)) {
    choices = [['', own || !value ? t('By the model') : t('By the model: {value}', { value: choices.find(([known]) => known === value)?.[1].toLowerCase() ?? value })], ...choices];
    if (open) value = '';
  }
  return makers[field.kind](`option-${name}`, {
    ...field, choices, model, min: valueOf(field.min, model), max: valueOf(field.max, model), value, open: open && field.kind === 'range' ? own ?? t('{value}, by the model', { value: String(value) }) : undefined,
    set: (now) => {
      if (now === '' && !('off' in field)) unsetOption(name);
      else setOption(name, now);
      if (name === 'sampler') refreshForm(); // each has options of its own
    },
  });
}

const ofTask = (maker) => (state, task, name, spec) => maker(`${task}-${name}`, {
  ...spec, value: taskOption(state, task, name, spec.initial), set: (value) => { setTaskOption(task, name, value); spec.then?.(value); },
});
export const rangeField = ofTask(range);
export const numberField = ofTask(number);
export const choiceField = ofTask(choice);
export const wordsField = ofTask(text);

export function checkField(state, task, name, { label, initial = false, help, then }) {
  const id = `${task}-${name}`;
  const input = el('input', { type: 'checkbox', id, 'data-key': id, checked: taskOption(state, task, name, initial), 'aria-describedby': described(help, id), on: { change: () => { setTaskOption(task, name, input.checked); then?.(input.checked); } } });
  return el('div', { class: 'field' }, el('label', { class: 'check', for: id }, input, label), describe(help, id));
}

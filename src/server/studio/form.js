/** The fields of the side panel. Each maker gives an element; values go to the store as they are entered. */
import { store } from './store.js';
import { el, iconButton } from './dom.js';
import { fields, optionOf, valueOf } from './fields.js';
import { modelOf } from './documents.js';
import { taskOption } from './tasks/index.js';

const setTaskOption = (task, name, value) => {
  const { taskOptions } = store.get();
  store.set({ taskOptions: { ...taskOptions, [task]: { ...taskOptions[task], [name]: value } } });
};
/** Draws the form anew: for what changes which fields there are. */
export const refreshForm = () => store.set({ form: {} });
export const setOption = (name, value) => store.set({ options: { ...store.get().options, [name]: value } });

const describe = (help, id) => (help ? el('p', { class: 'field-help', id: `${id}-help` }, help) : null);
const described = (help, id) => (help ? `${id}-help` : undefined);

function range(id, { label, min, max, step, value, show, help, set }) {
  const read = el('output', { class: 'number muted', for: id }, show ? show(value) : String(value));
  const input = el('input', {
    type: 'range', id, min, max, step, props: { value }, 'data-key': id, 'aria-describedby': described(help, id), 'aria-valuetext': show ? show(value) : undefined,
    on: { input: () => {
      const now = Number(input.value);
      read.textContent = show ? show(now) : String(now);
      if (show) input.setAttribute('aria-valuetext', show(now));
      set(now);
    } },
  });
  input.value = value;
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), read), input, describe(help, id));
}

/** Taken when the entry is finished; out-of-range and unreadable ones are marked and not taken. */
export function numberInput(id, { min, max, step = 1, value, set, extra = '', label }) {
  const input = el('input', {
    type: 'number', id, class: `input number ${extra}`, min, max, step, inputmode: 'numeric', 'data-key': id, 'aria-label': label,
    on: { change: () => { if (input.value !== '' && input.checkValidity()) set(Number(input.value)); } },
  });
  input.value = value;
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

function text(id, { label, value, placeholder, set }) {
  const input = el('textarea', { id, class: 'input', rows: 2, placeholder, 'data-key': id, on: { input: () => set(input.value) } });
  input.value = value;
  return el('div', { class: 'field' }, el('label', { for: id }, label), input);
}

function seed(id, { label, value, help, set }) {
  const input = numberInput(id, { min: 0, max: Number.MAX_SAFE_INTEGER, value, set });
  const roll = iconButton('dice', 'Another seed', () => {
    input.value = Math.floor(Math.random() * 1e6);
    set(Number(input.value));
  }, { 'data-key': `${id}-dice` });
  return el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: id }, label), el('div', { class: 'seed-line' }, input, roll)), describe(help, id));
}

const makers = { range, number, choice, segment: segments, text, seed };

/** One of the options of fields.js; null where the model has no use for it. */
export function optionField(state, task, name) {
  const field = fields[name];
  const model = modelOf(state);
  if (field.when && !field.when(model)) return null;
  if (task.without?.includes(name)) return null;
  const choices = valueOf(field.choices, model)?.map((value) => [value, field.words?.[value] ?? String(value)]);
  if (choices && choices.length < 2) return null;
  return makers[field.kind](`option-${name}`, {
    ...field, choices, min: valueOf(field.min, model), max: valueOf(field.max, model), value: optionOf(state, name, task), set: (value) => setOption(name, value),
  });
}

const ofTask = (maker) => (state, task, name, spec) => maker(`${task}-${name}`, {
  ...spec, value: taskOption(state, task, name, spec.initial), set: (value) => { setTaskOption(task, name, value); spec.then?.(value); },
});
export const rangeField = ofTask(range);
export const numberField = ofTask(number);
export const choiceField = ofTask(choice);

export function checkField(state, task, name, { label, initial = false, help, then }) {
  const id = `${task}-${name}`;
  const input = el('input', { type: 'checkbox', id, 'data-key': id, checked: taskOption(state, task, name, initial), 'aria-describedby': described(help, id), on: { change: () => { setTaskOption(task, name, input.checked); then?.(input.checked); } } });
  return el('div', { class: 'field' }, el('label', { class: 'check', for: id }, input, label), describe(help, id));
}

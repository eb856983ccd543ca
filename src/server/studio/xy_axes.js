/** What a grid of options can vary along one side: the options of sampling that the task takes, its strength, the served models. */
import { store } from './store.js';
import { fieldOf, fields, furtherOptions, isUsed, optionOf, valueOf } from './fields.js';
import { fittedNumber, newSeed } from './form.js';
import { modelOf } from './documents.js';
import { taskOf } from './tasks/index.js';
import { t } from './words.js';

const kFew = 6; // values that a choice starts with
const strength = { label: t('Strength'), kind: 'range', min: 0.05, max: 1, step: 0.05 };

const priors = (state) => (state.capabilities?.models ?? []).filter((model) => model.has_prior !== false).map(({ name }) => name);

/** The field of an axis, with its bounds and choices resolved. */
function axisField(state, name) {
  if (name === 'strength') return strength;
  if (name === 'model') return { label: t('Model'), kind: 'choice', choices: priors(state) };
  const model = modelOf(state);
  const field = fieldOf(name, model);
  return { ...field, min: valueOf(field.min, model), max: valueOf(field.max, model), choices: valueOf(field.choices, model)?.filter((value) => value !== '') };
}

/** [name, label] of every axis that the task has. */
export function axesOf(state) {
  const task = taskOf(state);
  const model = modelOf(state);
  const takes = (name) => {
    const field = fieldOf(name, model);
    if (name === 'count' || (field.when && !field.when(model)) || task.without?.includes(name) || !isUsed(state, name, task)) return false;
    return field.kind !== 'choice' || valueOf(field.choices, model).length > 1;
  };
  const own = [...Object.keys(fields), ...furtherOptions(state, task)].filter(takes);
  return [...(task.id === 'vary' ? ['strength'] : []), ...own, ...(priors(state).length > 1 ? ['model'] : [])].map((name) => [name, axisField(state, name).label]);
}

export const labelOf = (state, name) => axisField(state, name).label;
export const isLines = (state, name) => axisField(state, name).kind === 'text';

const valueNow = (state, name) => (name === 'strength' ? state.taskOptions.vary?.strength ?? 0.4 : optionOf(state, name, taskOf(state)));

/** Values to begin with, as one would type them. */
export function firstValues(state, name) {
  const field = axisField(state, name);
  if (name === 'seed') {
    const first = state.options.seed ?? state.seedUsed ?? newSeed();
    return [first, first + 1, first + 2].join(', ');
  }
  if (field.kind === 'text') return valueNow(state, name) ?? '';
  if (field.kind === 'choice') return field.choices.slice(0, kFew).join(', ');
  const now = Number(valueNow(state, name)) || field.min;
  const near = [now / 2, now, now * 1.5].map((value) => Number(fittedNumber(value, field).toFixed(4)));
  return [...new Set(near)].join(', ');
}

/** What was typed: {values} or {fault}, a line that says what was expected. */
export function valuesOf(state, name, text) {
  const field = axisField(state, name);
  const parts = text.split(field.kind === 'text' ? /\n/ : /[,،;\n]/).map((part) => part.trim()).filter(Boolean);
  const { label } = field;
  if (!parts.length) return { fault: t('{label}: no value yet.', { label }) };
  if (field.kind === 'text') return { values: [...new Set(parts)] };
  if (field.kind === 'choice') {
    const unknown = parts.find((part) => !field.choices.some((choice) => String(choice) === part));
    if (unknown !== undefined) return { fault: t('{label} {value}: expected one of {choices}.', { label, value: unknown, choices: field.choices.slice(0, 12).join(', ') }) };
    return { values: [...new Set(parts)] };
  }
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = field;
  const whole = name === 'seed' || Number.isInteger(field.step);
  for (const part of parts) {
    const value = Number(part);
    if (!Number.isFinite(value) || value < min || value > max || (whole && !Number.isInteger(value))) {
      return { fault: max === Number.MAX_SAFE_INTEGER ? t('{label} {value}: expected a whole number from {min} on.', { label, value: part, min }) : t('{label} {value}: expected a number from {min} to {max}.', { label, value: part, min, max }) };
    }
  }
  return { values: [...new Set(parts.map(Number))] };
}

/** The state in which this option has this value. */
export function withValue(state, name, value) {
  if (name === 'model') return { ...state, model: value };
  if (name === 'strength') return { ...state, taskOptions: { ...state.taskOptions, vary: { ...state.taskOptions.vary, strength: value } } };
  return { ...state, options: { ...state.options, [name]: value } };
}

/** The values of an axis, as they were typed or as they begin. */
export const typedValues = (side, name, state = store.get()) => state.taskOptions.xy?.[`${side}-${name}`] ?? firstValues(state, name);

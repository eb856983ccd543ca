/**
 * The sampling options a job takes, as the page shows them: one list drives the form, the request and the history.
 * off: the value that stands for "not used" and is then not sent; where it is absent the model's default is.
 */
import { modelOf } from './documents.js';
import { t } from './words.js';

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
/** A sampler as the service describes it. */
const samplerWords = (model) => Object.fromEntries(Object.entries(model?.sampler_help ?? {}).map(([name, help]) => [name, `${capital(name)}: ${help}`]));

const kAlways = ['count', 'seed']; // sent in any case. Whatever else is not set is left to the server, as the command line does: what the model suggests depends on the canvas

export const fields = {
  count: { label: t('How many'), kind: 'segment', choices: [1, 4, 9, 16], initial: () => 4 },
  seed: { label: t('Seed'), kind: 'seed', help: t('The same seed and options give the same pictures. Each run draws a new one unless it is locked.') },
  temperature: { label: t('Temperature'), kind: 'range', min: 0, max: 1.5, step: 0.05, initial: (model) => model?.defaults?.temperature ?? 1, help: t('Lower is safer, higher more varied.') },
  steps: { label: t('Steps'), kind: 'range', min: 1, max: (model) => stepsMost(model), step: 1, initial: (model) => model?.defaults?.steps ?? 100, help: t('From a grid with every cell open. An edit walks the share its open cells stand for; with fewer steps more cells are filled at once.') },
  sampler: { label: t('Sampler'), kind: 'choice', choices: (model) => model?.samplers ?? [], words: samplerWords, initial: (model) => model?.defaults?.sampler ?? model?.samplers?.[0] ?? '' },
  top_p: { label: t('Top p'), kind: 'range', min: 0.05, max: 1, step: 0.05, off: 1, help: t('Only the likeliest codes, up to this mass. 1 is all.') },
  top_k: { label: t('Top k'), kind: 'number', min: 0, max: (model) => model?.codebook_size ?? 4096, step: 1, off: 0, help: t('Only so many codes. 0 is all.') },
  typical_p: { label: t('Typical p'), kind: 'range', min: 0.05, max: 1, step: 0.05, off: 1, help: t('Only codes about as surprising as expected. 1 is all.') },
  context_guidance: { label: t('Coherence'), kind: 'range', min: 1, max: 4, step: 0.25, initial: (model) => model?.defaults?.context_guidance ?? 1, when: (model) => (model?.process ?? 'autoregressive') !== 'autoregressive', help: t('Above 1 new cells lean towards what the picture shows so far: clearer objects, fewer kinds.') },
  prompt: { label: t('What to show'), kind: 'text', off: '', when: (model) => model?.condition === 'text', counted: true, example: true },
  negative_prompt: { label: t('What to avoid'), kind: 'text', off: '', when: (model) => model?.condition === 'text', counted: true },
  class: { label: t('Class'), kind: 'choice', choices: (model) => ['', ...(model?.classes ?? [])], words: { '': t('Any') }, off: '', when: (model) => model?.condition === 'class' },
  cfg_scale: { label: t('Guidance'), kind: 'range', min: 1, max: 12, step: 0.5, initial: (model) => model?.defaults?.cfg_scale ?? 1, when: (model) => (model?.condition ?? 'none') !== 'none', help: t('How strictly the words are followed.') },
};

const stepsMost = (model) => Math.max(256, model?.defaults?.steps ?? 0, model?.grid ? model.grid[0] * model.grid[1] : 0);

/** The options of sampling as the service describes them, with the samplers that use each. */
const described = (model, name) => model?.sampling_options?.find((option) => option.name === name);

/** A field of an option that the page has no words of its own for. */
function fieldOfDescription(option) {
  const kind = option.enum ? 'choice' : option.type === 'string' ? 'text' : 'range';
  return { label: option.label, kind, choices: option.enum, words: {}, min: option.minimum ?? option.exclusiveMinimum, max: option.shown_maximum, step: option.step, initial: () => option.default, help: capital(option.description.replace(/ \[[^\]]*\]$/, '')) + '.' };
}

/** What the page knows of an option, else what the service says of it; undefined where the model has no such option. */
export function fieldOf(name, model) {
  if (fields[name]) return fields[name];
  const option = described(model, name);
  return option && fieldOfDescription(option);
}

/** Every option there is. */
export const namesOf = (model) => [...new Set([...Object.keys(fields), ...(model?.sampling_options ?? []).map((option) => option.name)])];

/** Whether the sampler in force uses the option. */
export function isUsed(state, name, task) {
  const option = described(modelOf(state), name);
  return !option || name === 'sampler' || option.samplers.includes(optionOf(state, 'sampler', task));
}

/** The options that the chosen sampler has beside those that the page arranges itself. */
export const furtherOptions = (state, task) => (modelOf(state)?.sampling_options ?? []).map((option) => option.name).filter((name) => !fields[name] && isUsed(state, name, task));

export const valueOf = (make, model) => (typeof make === 'function' ? make(model) : make);

const initialOf = (name, model, task) => {
  const field = fieldOf(name, model);
  if (task?.initial && name in task.initial) return valueOf(task.initial[name], model);
  return 'off' in field ? field.off : valueOf(field.initial, model);
};

/** Whether the model decides it: it is not sent. */
export const isOpen = (state, name) => !('off' in (fieldOf(name, modelOf(state)) ?? {})) && !kAlways.includes(name) && state.options[name] === undefined;

/** The value in force: what the user set, else what the task or the model starts from. */
export function optionOf(state, name, task) {
  const set = state.options[name];
  return set === undefined ? initialOf(name, modelOf(state), task) : set;
}

/** The sampling part of a request. */
export function optionsOf(state, task) {
  const model = modelOf(state);
  const request = {};
  for (const name of [...Object.keys(fields), ...furtherOptions(state, task)]) {
    const field = fieldOf(name, model);
    if (field.when && !field.when(model)) continue;
    if (!isUsed(state, name, task)) continue;
    if (task.without?.includes(name)) continue;
    const value = optionOf(state, name, task);
    if ('off' in field && value === field.off) continue;
    if (value === undefined || (state.options[name] === undefined && !kAlways.includes(name))) continue;
    request[name] = value;
  }
  return request;
}

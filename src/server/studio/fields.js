/**
 * The sampling options a job takes, as the page shows them: one list drives the form, the request and the history.
 * off: the value that stands for "not used" and is then not sent; where it is absent the model's default is.
 */
import { modelOf } from './documents.js';

const samplerWords = {
  ancestral: 'Ancestral, a random order',
  confidence: 'Confidence, the surest first',
  raster: 'Raster, line by line',
  mlm: 'Repeated masking',
  purity: 'Purity, the clearest first',
  autoregressive: 'Autoregressive',
};

const kAlways = ['count', 'seed']; // sent in any case. Whatever else is not set is left to the server, as the command line does: what the model suggests depends on the canvas

export const fields = {
  count: { label: 'How many', kind: 'segment', choices: [1, 4, 9, 16], initial: () => 4 },
  seed: { label: 'Seed', kind: 'seed', help: 'The same seed and options give the same pictures. Each run draws a new one unless it is locked.' },
  temperature: { label: 'Temperature', kind: 'range', min: 0, max: 1.5, step: 0.05, initial: (model) => model?.defaults?.temperature ?? 1, help: 'Lower is safer, higher more varied.' },
  steps: { label: 'Steps', kind: 'range', min: 1, max: (model) => stepsMost(model), step: 1, initial: (model) => model?.defaults?.steps ?? 100, help: 'From a grid with every cell open. An edit walks the share its open cells stand for; with fewer steps more cells are filled at once.' },
  sampler: { label: 'Sampler', kind: 'choice', choices: (model) => model?.samplers ?? [], words: samplerWords, initial: (model) => model?.defaults?.sampler ?? model?.samplers?.[0] ?? '' },
  top_p: { label: 'Top p', kind: 'range', min: 0.05, max: 1, step: 0.05, off: 1, help: 'Only the likeliest codes, up to this mass. 1 is all.' },
  top_k: { label: 'Top k', kind: 'number', min: 0, max: (model) => model?.codebook_size ?? 4096, step: 1, off: 0, help: 'Only so many codes. 0 is all.' },
  typical_p: { label: 'Typical p', kind: 'range', min: 0.05, max: 1, step: 0.05, off: 1, help: 'Only codes about as surprising as expected. 1 is all.' },
  context_guidance: { label: 'Coherence', kind: 'range', min: 1, max: 4, step: 0.25, initial: (model) => model?.defaults?.context_guidance ?? 1, when: (model) => (model?.process ?? 'autoregressive') !== 'autoregressive', help: 'Above 1 new cells lean towards what the picture shows so far: clearer objects, fewer kinds.' },
  prompt: { label: 'What to show', kind: 'text', off: '', when: (model) => model?.condition === 'text', counted: true, example: true },
  negative_prompt: { label: 'What to avoid', kind: 'text', off: '', when: (model) => model?.condition === 'text', counted: true },
  class: { label: 'Class', kind: 'choice', choices: (model) => ['', ...(model?.classes ?? [])], words: { '': 'Any' }, off: '', send: Number, when: (model) => model?.condition === 'class' },
  cfg_scale: { label: 'Guidance', kind: 'range', min: 1, max: 12, step: 0.5, initial: (model) => model?.defaults?.cfg_scale ?? 1, when: (model) => (model?.condition ?? 'none') !== 'none', help: 'How strictly the words are followed.' },
};

const stepsMost = (model) => Math.max(256, model?.defaults?.steps ?? 0, model?.grid ? model.grid[0] * model.grid[1] : 0);

export const valueOf = (make, model) => (typeof make === 'function' ? make(model) : make);

const initialOf = (name, model, task) => {
  const field = fields[name];
  if (task?.initial && name in task.initial) return valueOf(task.initial[name], model);
  return 'off' in field ? field.off : valueOf(field.initial, model);
};

/** Whether the model decides it: it is not sent. */
export const isOpen = (state, name) => !('off' in fields[name]) && !kAlways.includes(name) && state.options[name] === undefined;

/** The value in force: what the user set, else what the task or the model starts from. */
export function optionOf(state, name, task) {
  const set = state.options[name];
  return set === undefined ? initialOf(name, modelOf(state), task) : set;
}

/** The sampling part of a request. */
export function optionsOf(state, task) {
  const model = modelOf(state);
  const request = {};
  for (const [name, field] of Object.entries(fields)) {
    if (field.when && !field.when(model)) continue;
    if (task.without?.includes(name)) continue;
    const value = optionOf(state, name, task);
    if ('off' in field && value === field.off) continue;
    if (value === undefined || (state.options[name] === undefined && !kAlways.includes(name))) continue;
    request[name] = field.send ? field.send(value) : value;
  }
  return request;
}

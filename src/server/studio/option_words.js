/** An option with its value, in the few words of a line of facts. */
import { t } from './words.js';

const words = {
  seed: (value) => t('seed {value}', { value }), steps: (value) => t('{value} steps', { value }), temperature: (value) => t('temperature {value}', { value }),
  top_p: (value) => t('top p {value}', { value }), top_k: (value) => t('top k {value}', { value }), typical_p: (value) => t('typical p {value}', { value }),
  context_guidance: (value) => t('context guidance {value}', { value }), cfg_scale: (value) => t('cfg scale {value}', { value }),
  strength: (value) => t('strength {value}', { value }), stride: (value) => t('stride {value}', { value }), class: (value) => t('class {value}', { value }),
};

/** What needs no name, as a prompt and a sampler, is its value alone. */
export const factWords = (name, value) => words[name]?.(String(value)) ?? String(value);

/** The painted cells stay, everything else is made anew. */
import { countSet } from '../cells.js';
import { pictureOfRequest } from '../documents.js';
import { baseOf, blendingForm, blendingOf, maskOf } from './change.js';
import { t } from '../words.js';

export const keep = {
  id: 'keep', label: t('Keep'), icon: 'keep', verb: 'inpaint',
  lead: t('Paint over what you like. Everything around it is imagined again.'),
  needsPicture: true, usesMask: true, maskMeans: 'keep',
  initial: { count: 9 },
  runLabel: (state, count) => t('Imagine the rest {count} times', { count }),
  missing(state) {
    const kept = countSet(state.edit.mask);
    if (!kept) return t('Paint over the part that should stay.');
    if (kept === state.edit.mask.length) return t('All cells are kept: leave some to be made.');
    return '';
  },
  status(state) {
    const kept = countSet(state.edit.mask);
    return kept ? t('{some} of {all} cells stay', { some: kept, all: state.edit.mask.length }) : '';
  },
  form: (state) => blendingForm(state, 'keep'),
  size: (state) => ({ width: state.edit.doc.width, height: state.edit.doc.height }),
  base: (state) => baseOf(state, 'keep'),
  request: (state) => ({ ...pictureOfRequest(state.edit.doc, state.model), keep_mask: maskOf(state), ...blendingOf(state, 'keep') }),
};

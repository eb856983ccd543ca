/** The painted cells are made anew, the rest stays. */
import { countSet } from '../cells.js';
import { pictureOfRequest } from '../documents.js';
import { dataUriOf, maskPicture } from '../pictures.js';
import { el, button } from '../dom.js';
import { checkField, rangeField } from '../form.js';
import { downloadMask, openMask } from '../mask_files.js';
import { surpriseForm } from '../surprise.js';
import { taskOption } from './index.js';
import { t } from '../words.js';

export const maskOf = (state) => {
  const { doc, mask } = state.edit;
  return dataUriOf(maskPicture(mask, doc, doc.width, doc.height));
};

/** How the edit goes back over the picture; both mask tasks have it. */
export function blendingForm(state, task) {
  return [
    state.edit.area ? checkField(state, task, 'match', { label: t('Match the colours around'), initial: true, help: t('What is made takes on the mean and the contrast of the photograph around it.') }) : null,
    rangeField(state, task, 'feather', { label: t('Feather'), min: -1, max: 16, step: 1, initial: -1, show: (value) => (value < 0 ? t('one cell') : t('{pixels} px', { pixels: value })), help: t('How far the edit fades into the picture. 0 shows the decode as it is.') }),
    el('div', { class: 'hint-row' },
      button(t('Mask from a file'), openMask, { icon: 'open', class: 'small', 'data-key': `${task}-mask-open` }),
      button(t('Save the mask'), downloadMask, { icon: 'download', class: 'small', 'data-key': `${task}-mask-save` })),
  ];
}

export const blendingOf = (state, task) => {
  const feather = taskOption(state, task, 'feather', -1);
  return feather < 0 ? {} : { feather };
};

/** What lies under the result; in a box of a photograph whether its colours are matched. */
export const baseOf = (state, task) => ({ image: state.edit.doc.image, x: 0, y: 0, area: state.edit.area, match: Boolean(state.edit.area) && taskOption(state, task, 'match', true) });

export const change = {
  id: 'change', label: t('Change'), icon: 'change', verb: 'inpaint',
  lead: t('Paint over what should be different. The rest stays as it is.'),
  needsPicture: true, usesMask: true, maskMeans: 'change',
  initial: { count: 9 },
  runLabel: (state, count) => t('Make {count} variations', { count }),
  missing(state) {
    const cells = countSet(state.edit.mask);
    if (!cells) return t('Paint over the part that should change.');
    return '';
  },
  status(state) {
    const cells = countSet(state.edit.mask);
    return cells ? t('{some} of {all} cells will change', { some: cells, all: state.edit.mask.length }) : '';
  },
  form: (state) => [...blendingForm(state, 'change'), surpriseForm(state, 'change')],
  size: (state) => ({ width: state.edit.doc.width, height: state.edit.doc.height }),
  base: (state) => baseOf(state, 'change'),
  request: (state) => ({ ...pictureOfRequest(state.edit.doc, state.model), mask: maskOf(state), ...blendingOf(state, 'change') }),
};


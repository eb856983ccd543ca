/** Pictures near this one: a share of its cells is opened and filled again. */
import { modelOf, pictureOfRequest } from '../documents.js';
import { choiceField, rangeField } from '../form.js';
import { taskOption } from './index.js';
import { t } from '../words.js';

const strengthOf = (state) => taskOption(state, 'vary', 'strength', 0.4);

export const vary = {
  id: 'vary', label: t('Vary'), icon: 'vary', verb: 'variations',
  lead: t('Pictures near this one: a share of its cells is opened and filled again.'),
  needsPicture: true,
  initial: { count: 9 },
  runLabel: (state, count) => t('Make {count} variations', { count }),
  missing: (state) => (modelOf(state)?.has_prior === false ? t('This model has no prior yet.') : ''),
  status: (state) => t('{some} of {all} cells will change', { some: Math.max(1, Math.round(strengthOf(state) * state.edit.doc.h * state.edit.doc.w)), all: state.edit.doc.h * state.edit.doc.w }),
  form: (state) => [
    rangeField(state, 'vary', 'strength', { label: t('Strength'), min: 0.05, max: 1, step: 0.05, initial: 0.4, show: (value) => `${Math.round(value * 100)}%`, help: t('The share of cells that is opened.') }),
    choiceField(state, 'vary', 'by', { label: t('Which cells'), choices: [['random', t('Random ones')], ['likelihood', t('The most surprising')]], initial: 'random' }),
  ],
  size: (state) => ({ width: state.edit.doc.width, height: state.edit.doc.height }),
  base: (state) => ({ image: state.edit.doc.image, x: 0, y: 0, area: state.edit.area }),
  request: (state) => ({ ...pictureOfRequest(state.edit.doc, state.model), strength: strengthOf(state), by: taskOption(state, 'vary', 'by', 'random') }),
};

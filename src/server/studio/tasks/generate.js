/** Pictures from nothing, of the model's own size. */
import { modelOf } from '../documents.js';
import { t } from '../words.js';

export const generate = {
  id: 'generate', label: t('Generate'), icon: 'generate', verb: 'generate',
  lead: t('New pictures from nothing: every cell is open and the model fills them all.'),
  initial: { count: 9 },
  runLabel: (state, count) => t('Generate {count} pictures', { count }),
  missing: (state) => (modelOf(state)?.has_prior === false ? t('This model has no prior yet: it can only encode and decode.') : ''),
  size(state) {
    const model = modelOf(state);
    return { width: model.width, height: model.height };
  },
  request: () => ({}),
};

/** Pictures from nothing, of the model's own size. */
import { modelOf } from '../documents.js';

export const generate = {
  id: 'generate', label: 'Generate', icon: 'generate', verb: 'generate',
  lead: 'New pictures from nothing: every cell is open and the model fills them all.',
  initial: { count: 9 },
  runLabel: (state, count) => (count === 1 ? 'Generate a picture' : `Generate ${count} pictures`),
  missing: (state) => (modelOf(state)?.has_prior === false ? 'This model has no prior yet: it can only encode and decode.' : ''),
  size(state) {
    const model = modelOf(state);
    return { width: model.width, height: model.height };
  },
  request: () => ({}),
};

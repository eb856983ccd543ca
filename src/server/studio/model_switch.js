/** Another model: what was made stays. The picture is cut into its cells, what is painted is carried over, options that it knows stay set. */
import { store } from './store.js';
import { documentOf, loadTokens, modelOf } from './documents.js';
import { canvasBeside, change } from './edits.js';
import { refreshForm } from './form.js';
import { cropped } from './work_area.js';

/** The mask over another grid of the same picture: a cell is set where one below its middle was. */
function maskOver(mask, from, to) {
  const out = new Uint8Array(to.h * to.w);
  for (let y = 0; y < to.h; y++) for (let x = 0; x < to.w; x++) {
    const cy = Math.min(from.h - 1, Math.floor(((y + 0.5) * from.h) / to.h));
    const cx = Math.min(from.w - 1, Math.floor(((x + 0.5) * from.w) / to.w));
    out[y * to.w + x] = mask[cy * from.w + cx];
  }
  return out;
}

/** Without choices that the model does not have. */
export function keptOptions(options, model) {
  const kept = { ...options };
  if (kept.sampler !== undefined && !model.samplers.includes(kept.sampler)) delete kept.sampler;
  if (kept.class !== undefined && !model.classes.includes(String(kept.class))) delete kept.class;
  return kept;
}

export function switchModel(name) {
  const { capabilities, options, edit } = store.get();
  const before = modelOf(store.get());
  const model = capabilities.models.find((other) => other.name === name);
  store.set({ model: name, options: keptOptions(options, model), inspect: null });
  const { doc, mask, area } = edit;
  if (doc) {
    const other = area && (before?.width !== model.width || before?.height !== model.height);
    const next = documentOf(other ? cropped(area, model) : doc.image, doc.name, before?.name === name ? doc.tokens : null);
    change({ doc: next, original: next, mask: maskOver(mask, doc, next), pins: new Map(), area: area && { ...area, touched: area.touched && maskOver(area.touched, doc, next) }, ...(other ? canvasBeside(edit) : {}) });
    loadTokens(next);
  }
  refreshForm();
}

/** The work under way as versions kept it that had two tasks, Extend with borders and Stitch with pieces, instead of one canvas. */
import { editOfLayout, extended } from './tasks/layout.js';

export function formerOptions({ stitch, ...options } = {}) {
  return stitch ? { ...options, extend: { ...stitch, ...options.extend } } : options;
}

/** {pieces, canvas} of an edit: what lay there in the task that was open. edit: its pictures are read. */
export function formerCanvas(record, { doc, pieces, canvas }, model) {
  const { borders } = record.edit;
  const pasted = Boolean(doc) && record.taskOptions.stitch?.onto;
  const stitched = pieces.length > 0 && (record.task === 'stitch' || !doc);
  if (stitched && !pasted) return { pieces, canvas: { width: canvas.width || 2 * model.width, height: canvas.height || model.height } };
  if (stitched) {
    const { pieces: [base], ...size } = extended(doc);
    const above = pieces.map((piece) => ({ ...piece, id: piece.id + 1 }));
    return editOfLayout({ ...size, pieces: [base, ...above] });
  }
  return doc && Object.values(borders).some((pixels) => pixels > 0) ? editOfLayout(extended(doc, borders)) : { pieces: null, canvas: null };
}

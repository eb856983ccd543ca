/** Sets the page up as it was for a job: its task, its options, its picture and what was painted. */
import { store } from './store.js';
import { flatTokens } from './cells.js';
import { canvasBeside, change } from './edits.js';
import { namesOf } from './fields.js';
import { documentOf, loadTokens, modelOf } from './documents.js';
import { canvasOf } from './pictures.js';
import { refreshForm } from './form.js';
import { presentTask, taskById } from './tasks/index.js';
import { editOfLayout, extended } from './tasks/layout.js';
import { t } from './words.js';

/** Cells whose middle is white. */
function maskFrom(canvas, grid) {
  const { data } = canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
  const mask = new Uint8Array(grid.h * grid.w);
  for (let y = 0; y < grid.h; y++)
    for (let x = 0; x < grid.w; x++) {
      const px = Math.min(canvas.width - 1, Math.floor((x + 0.5) * grid.factor));
      const py = Math.min(canvas.height - 1, Math.floor((y + 0.5) * grid.factor));
      mask[y * grid.w + x] = data[(py * canvas.width + px) * 4] > 127 ? 1 : 0;
    }
  return mask;
}

/** Pieces of the same picture share it: they are parts of one (tasks/seams.js). */
async function piecesFrom(request, first) {
  const pictures = new Map();
  const pictureOf = (image) => pictures.get(image) ?? pictures.set(image, canvasOf(image)).get(image);
  return Promise.all(request.pieces.map(async ({ image, from, to }, k) => ({ id: first + k, image: await pictureOf(image), name: t('Piece {number}', { number: first + k }), from, to })));
}

/** What lay on the canvas. doc: the picture that was sent, or null. */
async function canvasFrom(request, doc) {
  if (request.verb === 'outpaint' && doc) return editOfLayout(extended(doc, request));
  if (!request.pieces) return canvasBeside(store.get().edit);
  if (!doc) return editOfLayout({ width: request.width, height: request.height, pieces: await piecesFrom(request, 1) });
  const { pieces, ...size } = extended(doc);
  return editOfLayout({ ...size, pieces: [...pieces, ...await piecesFrom(request, 2)] });
}

const taskFields = {
  vary: ['strength', 'by'], wide: ['width', 'height', 'stride', 'random_windows'], change: ['feather'], keep: ['feather'], extend: ['seam'],
};
const only = (request, names) => Object.fromEntries(names.filter((name) => request[name] !== undefined).map((name) => [name, request[name]]));

/** In: {task, request}. Throws where the task or a picture in it is unknown. */
export async function restore({ task: asked, request }) {
  const task = presentTask(asked);
  taskById(task);
  const state = store.get();
  const known = state.capabilities?.models.some((model) => model.name === request.model);
  if (known) store.set({ model: request.model });
  const patch = {};
  const picture = request.image ?? request.onto;
  if (picture) {
    const doc = documentOf(await canvasOf(picture), t('Picture of the job'), request.tokens ? flatTokens(request.tokens) : null);
    const painted = request.mask ?? request.keep_mask;
    Object.assign(patch, { doc, original: doc, pins: new Map(), area: null, mask: painted ? maskFrom(await canvasOf(painted), doc) : new Uint8Array(doc.h * doc.w) });
  }
  change({ ...patch, ...await canvasFrom(request, patch.doc ?? null) });
  const own = only(request, taskFields[task] ?? []);
  if (request.onto) own.onto = true;
  store.set({
    task, shown: 'picture', sheet: false, panel: 'task', options: only(request, namesOf(modelOf(state))), taskOptions: { ...state.taskOptions, [task]: own },
  });
  refreshForm();
  if (patch.doc) loadTokens(patch.doc);
}

/**
 * What the stage shows, from the state alone: the picture under edit, a result, or a job while it runs.
 * {kind, image, at: {x, y, width, height}, extent: {left, top, width, height}, grid: {h, w, factor}, tokens, open, fresh, mask, maskMeans, pins, name}
 *   at      where image lies (picture pixels)     open   Uint8Array, 1 where the cell is still MASK
 *   grid    {h, w, factor, left, top}, left and top the pixel it begins on (0 where left out)     fits   it covers the picture from its first pixel
 *   unseen  [[cell, token]] filled but in no picture yet, shown in their codeColours [K] of [r, g, b]
 *   surprise 0 to 1 for each cell, how little it fits, or null
 *   guessed the picture is the model's guess of the whole: open cells are veiled, not covered
 *   fresh   cells filled in this step              mask   Uint8Array or null; maskMeans change | keep
 *   photo   {area, doc, cells, scale} the photograph that the picture is the box of, scale of its pixels a picture's; sharp: it is shown within the box too
 */
import { store } from './store.js';
import { codeColours } from './codebook.js';
import { areaScene, areaShown } from './area_tool.js';
import { filledCells, frameAt, pictureOf } from './job_frames.js';
import { surpriseLayer } from './surprise.js';
import { taskOf } from './tasks/index.js';
import { withTouched } from './work_area.js';
import { t } from './words.js';

let touched = { result: null, area: null, cells: null }; // of the result that was asked for last

/** The photograph around a result that was made in a box of it, with the result in place. */
function photoOfResult(job, k, frame) {
  const area = job.base?.area;
  const result = job.results[k];
  if (!area) return null;
  const doc = { image: result?.image ?? job.base.image, h: Math.ceil(job.height / job.factor), w: Math.ceil(job.width / job.factor), factor: job.factor };
  if (touched.result !== result || touched.area !== area) touched = { result, area, cells: result ? withTouched(area, filledCells(job, k), doc.h * doc.w).touched : area.touched };
  return { area, doc, cells: touched.cells, scale: area.box.width / job.width, sharp: Boolean(result) && !frame };
}

export function resultScene(job, k, step = job.playStep) {
  const frame = frameAt(job, k, step);
  const guess = job.phase !== 'done' && store.get().guess ? job.guesses?.[k] ?? null : null;
  const grid = { h: job.grid[0], w: job.grid[1], factor: job.factor, left: job.origin.x, top: job.origin.y };
  const fits = grid.left === 0 && grid.top === 0 && grid.h * grid.factor >= job.height && grid.w * grid.factor >= job.width;
  return {
    kind: 'result', image: guess ?? frame?.image ?? pictureOf(job, k), guessed: Boolean(guess), at: { x: 0, y: 0, width: job.width, height: job.height }, grid, fits,
    extent: { left: 0, top: 0, width: job.width, height: job.height },
    tokens: fits ? (job.results[k]?.tokens ?? null) : null,
    open: frame?.open ?? null,
    fresh: frame?.fresh ?? null,
    unseen: guess ? null : frame?.unseen ?? null,
    codeColours: codeColours(job.model),
    base: job.phase === 'done' ? null : job.base, // what given cells show, while there is no picture yet
    photo: photoOfResult(job, k, frame), mask: null, pins: null, name: t('Result {number}', { number: k + 1 }),
  };
}

export function sceneOf(state) {
  const task = taskOf(state);
  const { edit, job } = state;
  if (state.shown === 'result' && job && job.grid) {
    const scene = resultScene(job, Math.min(job.selected, job.count - 1));
    if (state.compare && job.base) return { ...scene, photo: scene.photo && { ...scene.photo, cells: job.base.area.touched, doc: { ...scene.photo.doc, image: job.base.image } }, image: job.base.image, at: { ...job.base, width: job.base.image.width, height: job.base.image.height }, open: null, fresh: null, base: null };
    return scene;
  }
  if (areaShown(state)) return areaScene(state);
  const own = task.scene?.(state);
  if (own) return own;
  const doc = edit.doc;
  if (!doc) return null;
  const compared = state.compare && edit.original ? edit.original : doc;
  return {
    kind: 'picture', image: compared.image, at: { x: 0, y: 0, width: compared.width, height: compared.height }, extent: { left: 0, top: 0, width: doc.width, height: doc.height }, fits: true,
    photo: edit.area && !task.canvas ? { area: edit.area, doc, cells: edit.area.touched, scale: edit.area.box.width / doc.width, sharp: true, original: state.compare } : null,
    grid: { h: doc.h, w: doc.w, factor: doc.factor }, tokens: doc.tokens, open: null, fresh: null, base: null,
    mask: state.compare || !task.usesMask ? null : edit.mask, maskMeans: task.maskMeans ?? 'change', pins: state.compare || state.tool === 'codes' ? null : edit.pins, // dots would hide what is painted
    name: doc.name, surprise: state.compare || task.id !== 'change' ? null : surpriseLayer(state),
  };
}

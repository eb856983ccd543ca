/** The canvas as the user works on it: changing what lies there, the chosen piece, what the model makes of it. */
import { store } from '../store.js';
import { change } from '../edits.js';
import { announce } from '../announce.js';
import { modelOf } from '../documents.js';
import { refreshForm } from '../form.js';
import { blankCanvas } from '../pictures.js';
import { taskOption } from './index.js';
import { editOfLayout, isCovered, layoutOf, marginsOf, onlyPicture, withMargin, withOnTop, withPicture, without } from './layout.js';
import { seamsOf } from './seams.js';
import { t } from '../words.js';

export const factorOf = (state) => modelOf(state)?.factor ?? 1;
export const layoutNow = (state) => layoutOf(state.edit);

let chosen = null; // {id, image}: another picture's piece of that id is not chosen

export const chosenPiece = (layout) => layout.pieces.find(({ id, image }) => id === chosen?.id && image === chosen.image) ?? null;

export function choose(piece) {
  chosen = piece && { id: piece.id, image: piece.image };
  refreshForm();
}

/** Lays it so; nothing is recorded where that changes nothing. */
export function lay(layout) {
  if (JSON.stringify(layout) !== JSON.stringify(layoutNow(store.get()))) change(editOfLayout(layout));
}

/** Sets a margin; returns by how many pixels the pieces moved over the canvas. */
export function setMargin(side, pixels) {
  const state = store.get();
  const before = layoutNow(state);
  const next = withMargin(before, side, pixels, factorOf(state));
  lay(next);
  return { dx: side === 'left' ? next.width - before.width : 0, dy: side === 'top' ? next.height - before.height : 0 };
}

export function extendBy(side, cells) {
  const state = store.get();
  setMargin(side, marginsOf(layoutNow(state))[side] + cells * factorOf(state));
  tellSize();
}

export function tellSize() {
  const { width, height } = layoutNow(store.get());
  announce(t('The canvas is {width} by {height} pixels', { width, height }));
}

function add(picture) {
  const state = store.get();
  const layout = withPicture(layoutNow(state), picture, factorOf(state));
  lay(layout);
  choose(layout.pieces.at(-1));
  announce(t('{name} is on the canvas, piece {number}', { name: picture.name, number: layout.pieces.length }));
}

export const addPicture = (image, name) => add({ image, name });

/** The picture under edit, where it does not lie there. */
export function addPresent() {
  const { image, name } = store.get().edit.doc;
  add({ image, name, own: true });
}

export function remove(piece) {
  lay(without(layoutNow(store.get()), piece.id));
  refreshForm();
  announce(t('{name} removed', { name: piece.name }));
}

export const raise = (piece) => lay(withOnTop(layoutNow(store.get()), piece.id));

export const seamPixels = (state) => taskOption(state, 'extend', 'seam', 2 * factorOf(state));
export const ontoFirst = (state) => taskOption(state, 'extend', 'onto', false);

let cutFor = []; // what the cut was made for
let cut = null;

/** {open, kept}: the open cells, and the pieces as they are sent (seams.js). */
export function seams(state) {
  const { pieces, canvas, doc } = state.edit;
  const factor = factorOf(state);
  const what = [pieces, canvas, doc?.image, factor, seamPixels(state), ontoFirst(state)];
  if (!cut || what.some((value, k) => value !== cutFor[k])) {
    cutFor = what;
    const { width, height, pieces: laid } = layoutNow(state);
    cut = seamsOf(laid, { h: Math.ceil(height / factor), w: Math.ceil(width / factor), factor }, Math.round(seamPixels(state) / factor), ontoFirst(state));
  }
  return cut;
}

/** The lowest picture, where the others are pasted onto it and it is the whole canvas; else null. */
export function baseOf(state) {
  const layout = layoutNow(state);
  return ontoFirst(state) && layout.pieces.length > 1 && isCovered(layout) ? layout.pieces[0] : null;
}

/** What lies under the results: the picture where it is alone, else all that is kept. */
export function groundOf(state) {
  const layout = layoutNow(state);
  const only = onlyPicture(layout);
  if (only) return { image: only.image, x: only.to[0], y: only.to[1] };
  const image = blankCanvas(layout.width, layout.height);
  const context = image.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, layout.width, layout.height);
  for (const { image: picture, from, to } of seams(state).kept) context.drawImage(picture, ...from, ...to, from[2], from[3]);
  return { image, x: 0, y: 0 };
}

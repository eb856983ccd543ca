/**
 * What lies on the canvas: {width, height, pieces}, in pixels of the canvas and whole cells.
 *   piece  {id, image, name, from: [x, y, w, h] of its picture, to: [X, Y], own: it is the picture under edit}
 * A margin is what the canvas reaches beyond all pieces on one side.
 */
import { sides } from './handles.js';

const kMostCells = 64; // of a margin, in any case
const kMostSide = 2048; // pixels of a canvas that margins and pictures make

const wholeOf = ({ width, height }) => [0, 0, width, height];

/** The picture under edit as a piece; one that was cut shows the same part of what it has become. */
function ownPiece(piece, doc) {
  const [x, y, width, height] = piece.from;
  const fits = x + width <= doc.width && y + height <= doc.height;
  return { ...piece, image: doc.image, name: doc.name, from: fits ? piece.from : wholeOf(doc) };
}

/** As an edit keeps it: pieces null while the picture lies there alone and nothing was moved. */
export function layoutOf({ doc, pieces, canvas }) {
  if (pieces) return { ...canvas, pieces: pieces.map((piece) => (piece.own ? ownPiece(piece, doc) : piece)) };
  return doc ? extended(doc) : { width: 0, height: 0, pieces: [] };
}

export const editOfLayout = ({ width, height, pieces }) => ({
  canvas: { width, height }, pieces: pieces.map((piece) => (piece.own ? { id: piece.id, own: true, from: piece.from, to: piece.to } : piece)),
});

/** The picture under edit with so much ground beside it. */
export function extended(doc, { left = 0, right = 0, top = 0, bottom = 0 } = {}) {
  return { width: doc.width + left + right, height: doc.height + top + bottom, pieces: [ownPiece({ id: 1, own: true, from: wholeOf(doc), to: [left, top] }, doc)] };
}

/** The picture that lies there whole and alone, or null. */
export function onlyPicture({ pieces }) {
  const [piece] = pieces;
  return pieces.length === 1 && String(piece.from) === String(wholeOf(piece.image)) ? piece : null;
}

/** Whether the first piece is whole and fills the canvas. */
export function isCovered({ width, height, pieces }) {
  return pieces.length > 0 && onlyPicture({ pieces: pieces.slice(0, 1) }) !== null && String([...pieces[0].to, ...pieces[0].from.slice(2)]) === String([0, 0, width, height]);
}

export function boundsOf(pieces) {
  return {
    left: Math.min(...pieces.map(({ to }) => to[0])), right: Math.max(...pieces.map(({ to, from }) => to[0] + from[2])),
    top: Math.min(...pieces.map(({ to }) => to[1])), bottom: Math.max(...pieces.map(({ to, from }) => to[1] + from[3])),
  };
}

/** {left, right, top, bottom}; none where nothing lies there. */
export function marginsOf({ width, height, pieces }) {
  if (!pieces.length) return Object.fromEntries(sides.map((side) => [side, 0]));
  const { left, right, top, bottom } = boundsOf(pieces);
  return { left, right: width - right, top, bottom: height - bottom };
}

const movedBy = (piece, dx, dy) => ({ ...piece, to: [piece.to[0] + dx, piece.to[1] + dy] });

/** The canvas that leaves such margins; the pieces stay where they are to each other. */
function withMargins(pieces, { left, right, top, bottom }) {
  const bounds = boundsOf(pieces);
  return {
    width: left + bounds.right - bounds.left + right, height: top + bounds.bottom - bounds.top + bottom,
    pieces: pieces.map((piece) => movedBy(piece, left - bounds.left, top - bounds.top)),
  };
}

export function mostMargin({ width, height, pieces }, side, factor) {
  const rest = (side === 'left' || side === 'right' ? width : height) - marginsOf({ width, height, pieces })[side];
  return Math.max(kMostCells, Math.floor((kMostSide - rest) / factor)) * factor;
}

/** With the margin that comes nearest to so many pixels. */
export function withMargin(layout, side, pixels, factor) {
  const margins = marginsOf(layout);
  const margin = Math.max(0, Math.min(mostMargin(layout, side, factor), Math.round(pixels / factor) * factor));
  return margin === margins[side] || !layout.pieces.length ? layout : withMargins(layout.pieces, { ...margins, [side]: margin });
}

/** With a further picture beside the others, the canvas as large as that needs; at the left again where it would be too large. */
export function withPicture(layout, { image, name, own }, factor) {
  const cut = (length) => Math.max(factor, Math.floor(length / factor) * factor);
  const pieces = layout.pieces.map(({ from: [x, y, w, h], ...piece }) => ({ ...piece, from: [x, y, cut(w), cut(h)] }));
  const ground = pieces.length ? withMargins(pieces, marginsOf(layout)) : layout;
  const { right, top } = pieces.length ? boundsOf(ground.pieces) : { right: 0, top: 0 };
  const [width, height] = [cut(image.width), cut(image.height)];
  const to = [right + width <= Math.max(kMostSide, ground.width) ? right : 0, top];
  const piece = { id: 1 + Math.max(0, ...pieces.map(({ id }) => id)), image, name, own, from: [0, 0, width, height], to };
  return { width: Math.max(ground.width, to[0] + width), height: Math.max(ground.height, to[1] + height), pieces: [...ground.pieces, piece] };
}

export const withPiece = (layout, piece) => ({ ...layout, pieces: layout.pieces.map((other) => (other.id === piece.id ? piece : other)) });
export const without = (layout, id) => ({ ...layout, pieces: layout.pieces.filter((piece) => piece.id !== id) });
export const withOnTop = (layout, id) => ({ ...layout, pieces: [...without(layout, id).pieces, layout.pieces.find((piece) => piece.id === id)] });

/** A canvas on which one picture lies, or several: the model makes what they leave open, and the seams where they meet. */
import { beginStroke, cancelStroke, endStroke } from '../edits.js';
import { announce } from '../announce.js';
import { countSet } from '../cells.js';
import { dataUriOf } from '../pictures.js';
import { modelOf } from '../documents.js';
import { openTiles } from '../painting.js';
import { currentScale, fit, pan, repaint } from '../stage.js';
import { store } from '../store.js';
import { addPicture, baseOf, layoutNow, choose, chosenPiece, extendBy, factorOf, groundOf, lay, remove, seamPixels, seams, setMargin, tellSize } from './canvas.js';
import { extendForm } from './extend_form.js';
import { handleAt, handlesOf, paintHandles } from './handles.js';
import { marginsOf, onlyPicture, withPiece } from './layout.js';
import { edgeAt, movedPiece, paintOutline, paintPiece, pieceAt, resizedPiece } from './pieces.js';
import { sizeWords, t } from '../words.js';

const kOut = 15; // CSS pixels that the handles lie beyond the canvas: pieces have theirs on its border
const kCellTools = ['inspect', 'codes', 'pick'];

let hovered = null; // id of the piece under the pointer
let near = null; // the side whose handle is under the pointer
let dragging = false;

const sizeOf = (state) => { const { width, height } = layoutNow(state); return { width, height }; };
const handlesNow = (state) => handlesOf({ left: 0, top: 0, ...sizeOf(state) }, kOut / currentScale());

/** How far a point lies beyond a side of the canvas, from where its handle is. */
function beyond(side, { x, y }, { width, height }) {
  return { left: -x, right: x - width, top: -y, bottom: y - height }[side] - kOut / currentScale();
}

/** A side that is dragged: the canvas follows, and what lies on it stays where it is in the window. */
function sideHandler(side, state) {
  return {
    cursor: handlesNow(state)[side].cursor,
    down() { dragging = true; beginStroke(); },
    move(point) {
      const layout = layoutNow(store.get());
      const { dx, dy } = setMargin(side, marginsOf(layout)[side] + beyond(side, point, layout));
      if (dx || dy) pan(-dx * currentScale(), -dy * currentScale());
    },
    up() { dragging = false; endStroke(); tellSize(); },
    cancel() { dragging = false; cancelStroke(); fit(); },
  };
}

/** A piece that is moved, or cut at the edge that was taken hold of. */
function pieceHandler(piece, edge, begin, state) {
  const factor = factorOf(state);
  return {
    cursor: edge ? (edge === 'left' || edge === 'right' ? 'ew' : 'ns') : 'move',
    down() { choose(piece); beginStroke(); },
    move(now) {
      const layout = layoutNow(store.get());
      const [dx, dy] = [now.x - begin.x, now.y - begin.y];
      lay(withPiece(layout, edge ? resizedPiece(piece, edge, dx, dy, factor) : movedPiece(piece, dx, dy, factor, layout)));
    },
    up: endStroke,
    cancel: cancelStroke,
  };
}

/** What a point takes hold of: {side} a handle of the canvas, {piece, edge} a piece, at an edge of the chosen one; empty on open ground. cells: no piece. */
function heldAt(point, state, layout, cells) {
  const scale = currentScale();
  const chosen = cells ? null : chosenPiece(layout);
  const edge = chosen ? edgeAt(chosen, point, scale) : null;
  const side = handleAt(handlesNow(state), point, scale);
  if (side && !(edge && beyond(side, point, layout) * scale < -kOut / 2)) return { side, edge: null, piece: null }; // beside an edge the nearer of the two
  if (edge) return { side: null, edge, piece: chosen };
  return { side: null, edge: null, piece: cells ? null : pieceAt(layout.pieces, point) };
}

export const extend = {
  id: 'extend', label: t('Extend'), icon: 'extend',
  lead: t('Drag a handle outwards: the picture goes on beyond its border. Lay other pictures beside it, and the model joins them.'),
  needsPicture: true, canvas: true, initial: { count: 4 }, margin: 64,
  hasPicture: (state) => Boolean(state.edit.doc) || layoutNow(state).pieces.length > 0,
  runLabel: (state, count) => (layoutNow(state).pieces.length > 1 ? t('Join the pieces {count} ways', { count }) : t('Extend it {count} ways', { count })),
  missing(state) {
    const { pieces } = layoutNow(state);
    if (!pieces.length) return t('Add a picture, then drag it where it belongs.');
    const { open, kept } = seams(state);
    if (!countSet(open)) return pieces.length > 1 ? t('The pieces leave no cell to be made. Move one, or widen the seam.') : t('Drag a handle, or type how far to go.');
    return kept.length ? '' : t('The seam takes up all of the pieces. Make it narrower.');
  },
  status(state) {
    const { width, height } = sizeOf(state);
    const { open } = seams(state);
    return t('{size} pixels, {some} of {all} cells will be made', { size: sizeWords(width, height), some: countSet(open), all: open.length });
  },
  holdsCamera: () => dragging,
  size: sizeOf,
  base: groundOf,
  takesPicture: (state) => layoutNow(state).pieces.length > 0, // the first is the picture under edit
  takePicture: addPicture,
  request(state) {
    const layout = layoutNow(state);
    const only = onlyPicture(layout);
    if (only) return { verb: 'outpaint', image: dataUriOf(only.image), ...Object.fromEntries(Object.entries(marginsOf(layout)).filter(([, pixels]) => pixels)) };
    const base = baseOf(state);
    const pieces = (base ? layout.pieces.slice(1) : seams(state).kept).map(({ image, from, to }) => ({ image: dataUriOf(image), from, to }));
    return base ? { verb: 'stitch', pieces, onto: dataUriOf(base.image), seam: seamPixels(state) } : { verb: 'stitch', ...sizeOf(state), pieces };
  },

  /** The picture alone, untouched, is shown as in every task. */
  scene(state) {
    const model = modelOf(state);
    if (!model || !state.edit.pieces || !this.hasPicture(state)) return null;
    const { width, height, pieces } = layoutNow(state);
    const grid = { h: Math.ceil(height / model.factor), w: Math.ceil(width / model.factor), factor: model.factor };
    return {
      kind: 'blank', image: null, at: { x: 0, y: 0, width, height }, extent: { left: 0, top: 0, width, height }, grid, fits: true, tokens: null,
      open: new Uint8Array(grid.h * grid.w).fill(1), fresh: [], base: null, mask: null, pins: null, name: pieces.length === 1 ? pieces[0].name : t('Canvas of pieces'),
    };
  },

  paint(context, state, scene, scale) {
    if (scene.kind === 'result') return;
    const layout = layoutNow(state);
    if (scene.kind === 'blank') {
      for (const piece of layout.pieces) paintPiece(context, piece);
      openTiles(context, scene.grid, seams(state).open, 0.86);
    }
    if (state.compare || !layout.pieces.length) return;
    const chosen = chosenPiece(layout);
    for (const piece of layout.pieces) paintOutline(context, piece, scale, piece === chosen, piece.id === hovered);
    paintHandles(context, handlesNow(state), near, scale);
  },

  handler(point, state) {
    const layout = layoutNow(state);
    if (state.shown === 'result' || !layout.pieces.length) return null;
    const cells = !state.edit.pieces && kCellTools.includes(state.tool); // these work on the picture
    const { side, edge, piece } = heldAt(point, state, layout, cells);
    if (near !== side || hovered !== (piece?.id ?? null)) {
      near = side;
      hovered = piece?.id ?? null;
      repaint();
    }
    if (side) return sideHandler(side, state);
    if (cells) return null;
    return piece ? pieceHandler(piece, edge, point, state) : { cursor: '', down: () => choose(null) };
  },

  keys(event, state) {
    if (state.shown === 'result') return false;
    const layout = layoutNow(state);
    const piece = chosenPiece(layout);
    const arrow = { ArrowLeft: ['left', -1, 0], ArrowRight: ['right', 1, 0], ArrowUp: ['top', 0, -1], ArrowDown: ['bottom', 0, 1] }[event.key];
    if (!piece) {
      if (!arrow || !layout.pieces.length) return false;
      extendBy(arrow[0], event.shiftKey ? -1 : 1);
      return true;
    }
    if (event.key === 'Escape') choose(null);
    else if (event.key === 'Delete' || event.key === 'Backspace') remove(piece);
    else if (arrow) {
      const factor = factorOf(state);
      const [dx, dy] = arrow.slice(1).map((cells) => cells * factor);
      const next = event.shiftKey ? resizedPiece(piece, dx ? 'right' : 'bottom', dx, dy, factor) : movedPiece(piece, dx, dy, factor, layout);
      lay(withPiece(layout, next));
      announce(t('{name} at {x}, {y}, {width} by {height} pixels', { name: piece.name, x: next.to[0], y: next.to[1], width: next.from[2], height: next.from[3] }));
    } else return false;
    return true;
  },

  form: extendForm,
};

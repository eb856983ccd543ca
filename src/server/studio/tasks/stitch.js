/** Pieces of several pictures on one canvas; the model fills what they leave open. */
import { store } from '../store.js';
import { beginStroke, cancelStroke, change as edit, endStroke } from '../edits.js';
import { el, iconButton, button } from '../dom.js';
import { checkField, numberInput, rangeField, refreshForm } from '../form.js';
import { modelOf } from '../documents.js';
import { blankCanvas, dataUriOf } from '../pictures.js';
import { announce } from '../announce.js';
import { choosePictures } from '../imports.js';
import { currentScale, repaint } from '../stage.js';
import { taskOption } from './index.js';
import { countSet } from '../cells.js';
import { openTiles } from '../painting.js';
import { edgeAt, movedPiece, paintPiece, pieceAt, resizedPiece } from './pieces.js';
import { handleAt, handlesOf, paintHandles } from './handles.js';
import { seamsOf } from './seams.js';
import { palette } from '../palette.js';
import { sizeWords, t } from '../words.js';

let selected = null; // id of a piece
let hovered = null;
let near = null; // the side whose handle is under the pointer
let growing = null; // {side, by} pixels, while a side is dragged

const kMostSide = 2048; // pixels of the canvas
const kOut = 15; // CSS pixels that the handles lie beyond the canvas: pieces have theirs on its border

const factorOf = (state) => modelOf(state)?.factor ?? 1;
const onto = (state) => Boolean(state.edit.doc) && taskOption(state, 'stitch', 'onto', false);

function sizeOf(state) {
  const model = modelOf(state);
  if (onto(state)) return { width: state.edit.doc.width, height: state.edit.doc.height };
  const { canvas } = state.edit;
  return { width: canvas.width || (model?.width ?? 64) * 2, height: canvas.height || (model?.height ?? 64) };
}

const pieceOf = (state, id) => state.edit.pieces.find((piece) => piece.id === id) ?? null;
const select = (id) => {
  selected = id;
  refreshForm();
};
const replace = (piece) => edit({ pieces: store.get().edit.pieces.map((other) => (other.id === piece.id ? piece : other)) });

const seamPixels = (state) => taskOption(state, 'stitch', 'seam', 2 * factorOf(state));

let cutFor = []; // what the cut was made for
let cut = null;

/** The open cells and the pieces as they are sent (seams.js). */
function seams(state) {
  const factor = factorOf(state);
  const { width, height } = sizeOf(state);
  const what = [state.edit.pieces, factor, width, height, seamPixels(state), onto(state)];
  if (!cut || what.some((value, k) => value !== cutFor[k])) {
    cutFor = what;
    cut = seamsOf(state.edit.pieces, { h: Math.ceil(height / factor), w: Math.ceil(width / factor), factor }, Math.round(seamPixels(state) / factor), onto(state));
  }
  return cut;
}

/** The canvas with its pieces, as the job starts from it. */
function pasted(state) {
  const { width, height } = sizeOf(state);
  const canvas = blankCanvas(width, height);
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  if (onto(state)) context.drawImage(state.edit.doc.image, 0, 0);
  for (const { image, from, to } of seams(state).kept) context.drawImage(image, ...from, ...to, from[2], from[3]);
  return canvas;
}

function add(image, name) {
  const state = store.get();
  const factor = factorOf(state);
  const { width, height } = sizeOf(state);
  const cut = (length) => Math.max(factor, Math.floor(length / factor) * factor);
  const from = [0, 0, Math.min(cut(image.width), width), Math.min(cut(image.height), height)];
  // Beside the others, as far as there is room; then back at the left.
  const right = state.edit.pieces.reduce((most, { to, from: [, , w] }) => Math.max(most, to[0] + w), 0);
  const to = [right + from[2] <= width ? right : 0, 0];
  const piece = { id: 1 + Math.max(0, ...state.edit.pieces.map(({ id }) => id)), image, name, from, to };
  selected = piece.id;
  edit({ pieces: [...state.edit.pieces, piece] });
  announce(t('{name} is on the canvas, piece {number}', { name, number: state.edit.pieces.length + 1 }));
}

/** How far a side goes when it is dragged to `by` pixels beyond where it is: in whole cells, never over a piece. */
function grownBy(state, side, by) {
  const factor = factorOf(state);
  const { width, height } = sizeOf(state);
  const across = side === 'left' || side === 'right';
  const room = { // until the first piece
    left: Math.min(width - factor, ...state.edit.pieces.map(({ to }) => to[0])), top: Math.min(height - factor, ...state.edit.pieces.map(({ to }) => to[1])),
    right: Math.min(width - factor, ...state.edit.pieces.map(({ from, to }) => width - to[0] - from[2])), bottom: Math.min(height - factor, ...state.edit.pieces.map(({ from, to }) => height - to[1] - from[3])),
  }[side];
  const least = -Math.floor(Math.max(0, room) / factor) * factor;
  const most = Math.floor((kMostSide - (across ? width : height)) / factor) * factor;
  return Math.max(least, Math.min(most, Math.round(by / factor) * factor));
}

/** The canvas with one side moved; the pieces stay where they are to each other. */
function grow(side, by) {
  if (!by) return;
  const state = store.get();
  const { width, height } = sizeOf(state);
  const across = side === 'left' || side === 'right';
  const shift = [side === 'left' ? by : 0, side === 'top' ? by : 0];
  edit({
    canvas: { width: width + (across ? by : 0), height: height + (across ? 0 : by) },
    pieces: state.edit.pieces.map((piece) => ({ ...piece, to: [piece.to[0] + shift[0], piece.to[1] + shift[1]] })),
  });
  refreshForm();
  const now = sizeOf(store.get());
  announce(t('The canvas is {width} by {height} pixels', now));
}

const canvasHandles = (state) => handlesOf({ left: 0, top: 0, ...sizeOf(state) }, kOut / currentScale());
const beyond = (side, { x, y }, { width, height }) => ({ left: -x, right: x - width, top: -y, bottom: y - height })[side] - kOut / currentScale();

/** A handler for a side of the canvas, or null. */
function sideHandler(point, state) {
  const side = onto(state) ? null : handleAt(canvasHandles(state), point, currentScale());
  if (near !== side) {
    near = side;
    repaint();
  }
  if (!side) return null;
  const end = () => { growing = null; repaint(); };
  return {
    cursor: canvasHandles(state)[side].cursor,
    move(now) { growing = { side, by: grownBy(store.get(), side, beyond(side, now, sizeOf(store.get()))) }; repaint(); },
    up() { const by = growing?.by ?? 0; end(); grow(side, by); },
    cancel: end,
  };
}

/** The canvas as it would be, while a side is dragged. */
function paintGrowing(context, state, scale) {
  const { width, height } = sizeOf(state);
  const { side, by } = growing;
  context.save();
  context.strokeStyle = palette().accent;
  context.lineWidth = 2 / scale;
  context.setLineDash([6 / scale, 5 / scale]);
  context.strokeRect(side === 'left' ? -by : 0, side === 'top' ? -by : 0, width + (side === 'left' || side === 'right' ? by : 0), height + (side === 'top' || side === 'bottom' ? by : 0));
  context.restore();
}

function remove(id) {
  edit({ pieces: store.get().edit.pieces.filter((piece) => piece.id !== id) });
  if (selected === id) selected = store.get().edit.pieces.at(-1)?.id ?? null;
}

function raise(id) {
  const { pieces } = store.get().edit;
  const piece = pieces.find((other) => other.id === id);
  edit({ pieces: [...pieces.filter((other) => other.id !== id), piece] });
}

export const stitch = {
  id: 'stitch', label: t('Stitch'), icon: 'stitch', verb: 'stitch',
  lead: t('Lay pieces of several pictures on a canvas; the model joins them.'),
  canvas: true, initial: { count: 4 }, margin: 52,
  runLabel: (state, count) => t('Join the pieces {count} ways', { count }),
  missing(state) {
    if (!state.edit.pieces.length) return t('Add a picture, then drag it where it belongs.');
    const { open, kept } = seams(state);
    if (!countSet(open)) return t('The pieces leave no cell to be made. Move one, or widen the seam.');
    if (!kept.length) return t('The seam takes up all of the pieces. Make it narrower.');
    return '';
  },
  status(state) {
    const { width, height } = sizeOf(state);
    const { open } = seams(state);
    return t('{size} pixels, {some} of {all} cells will be made', { size: sizeWords(width, height), some: countSet(open), all: open.length });
  },
  size: sizeOf,
  base: (state) => ({ image: pasted(state), x: 0, y: 0 }),
  takePicture: add,
  request(state) {
    const pieces = seams(state).kept.map(({ image, from, to }) => ({ image: dataUriOf(image), from, to }));
    if (!onto(state)) return { ...sizeOf(state), pieces };
    return { pieces, onto: dataUriOf(state.edit.doc.image), seam: seamPixels(state) };
  },

  scene(state) {
    const model = modelOf(state);
    if (!model) return null;
    const { width, height } = sizeOf(state);
    const grid = { h: Math.ceil(height / model.factor), w: Math.ceil(width / model.factor), factor: model.factor };
    const image = onto(state) ? state.edit.doc.image : null;
    return {
      kind: 'blank', image, at: { x: 0, y: 0, width, height }, extent: { left: 0, top: 0, width, height }, grid, fits: true, tokens: null,
      open: image ? null : new Uint8Array(grid.h * grid.w).fill(1), fresh: [], base: null, mask: null, pins: null, name: t('Canvas of pieces'),
    };
  },

  paint(context, state, scene, scale) {
    if (scene.kind !== 'blank' || state.compare) return;
    for (const piece of state.edit.pieces) paintPiece(context, piece, scale, false, false);
    openTiles(context, scene.grid, seams(state).open, 0.86);
    for (const piece of state.edit.pieces) paintPiece(context, piece, scale, piece.id === selected, piece.id === hovered, true);
    if (!onto(state)) paintHandles(context, canvasHandles(state), near, scale);
    if (growing) paintGrowing(context, state, scale);
  },

  handler(point, state) {
    if (state.shown === 'result') return null;
    const side = sideHandler(point, state);
    if (side) return side;
    const chosen = pieceOf(state, selected);
    const edge = chosen && edgeAt(chosen, point, currentScale());
    const piece = edge ? chosen : pieceAt(state.edit.pieces, point);
    if (hovered !== (piece?.id ?? null)) {
      hovered = piece?.id ?? null;
      repaint();
    }
    if (!piece) return { cursor: '', down: () => select(null) };
    const factor = factorOf(state);
    const begin = { x: point.x, y: point.y };
    return {
      cursor: edge ? (edge === 'left' || edge === 'right' ? 'ew' : 'ns') : 'move',
      down() { select(piece.id); beginStroke(); },
      move(now) {
        const dx = now.x - begin.x;
        const dy = now.y - begin.y;
        const next = edge ? resizedPiece(piece, edge, dx, dy, factor) : movedPiece(piece, dx, dy, factor, sizeOf(store.get()));
        replace(next);
      },
      up: endStroke,
      cancel: cancelStroke,
    };
  },

  keys(event, state) {
    const piece = pieceOf(state, selected);
    if (!piece || state.shown === 'result') return false;
    const factor = factorOf(state);
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (dx !== undefined) {
      const next = event.shiftKey
        ? resizedPiece(piece, dx ? 'right' : 'bottom', dx * factor, dy * factor, factor)
        : movedPiece(piece, dx * factor, dy * factor, factor, sizeOf(state));
      replace(next);
      announce(t('{name} at {x}, {y}, {width} by {height} pixels', { name: piece.name, x: next.to[0], y: next.to[1], width: next.from[2], height: next.from[3] }));
      return true;
    }
    if (event.key === 'Delete' || event.key === 'Backspace') {
      remove(piece.id);
      announce(t('{name} removed', { name: piece.name }));
      return true;
    }
    return false;
  },

  form(state) {
    const { pieces, doc } = state.edit;
    const model = modelOf(state);
    const { width, height } = sizeOf(state);
    const step = factorOf(state);
    const side = (name, value) => el('div', { class: 'field' }, el('div', { class: 'field-line' }, el('label', { for: `stitch-${name}` }, { width: t('Width'), height: t('Height') }[name])),
      numberInput(`stitch-${name}`, { min: step, max: kMostSide, step, value, set: (now) => edit({ canvas: { width, height, ...store.get().edit.canvas.width ? store.get().edit.canvas : {}, [name]: now } }) }));
    return [
      el('div', { class: 'hint-row' },
        button(t('Add pictures'), choosePictures, { icon: 'open', class: 'small' }),
        doc ? button(t('Add the present picture'), () => add(doc.image, doc.name), { icon: 'plus', class: 'small' }) : null),
      pieces.length ? el('ul', { class: 'pieces', 'aria-label': t('Pieces, the last lies on top') }, pieces.map(pieceRow)) : null,
      pieces.length ? el('p', { class: 'field-help' }, t('Drag a piece to move it, its edges to cut it; drag a handle beside the canvas to make it larger. Arrow keys move the chosen piece, Shift with them cuts it, Delete takes it away.')) : null,
      doc ? checkField(state, 'stitch', 'onto', { label: t('Paste onto the present picture'), then: refreshForm }) : null,
      rangeField(state, 'stitch', 'seam', { label: t('Seam'), min: 0, max: 8 * step, step, initial: 2 * step, show: (value) => t('{pixels} px', { pixels: value }), help: onto(state) ? t('How much around each piece is made anew.') : t('How much of each piece is made anew where two meet.') }),
      onto(state) ? null : el('div', { class: 'pair' }, side('width', width), side('height', height)),
    ];
  },
};

function pieceRow(piece) {
  const small = blankCanvas(92, 92);
  const ratio = Math.min(92 / piece.from[2], 92 / piece.from[3]);
  small.getContext('2d').drawImage(piece.image, ...piece.from, (92 - piece.from[2] * ratio) / 2, (92 - piece.from[3] * ratio) / 2, piece.from[2] * ratio, piece.from[3] * ratio);
  small.setAttribute('aria-hidden', 'true');
  return el('li', { 'data-selected': piece.id === selected },
    small,
    el('div', {}, el('button', { type: 'button', class: 'piece-name', dir: 'auto', 'aria-pressed': String(piece.id === selected), 'data-key': `piece-${piece.id}`, on: { click: () => select(piece.id) } }, piece.name),
      el('div', { class: 'piece-place number' }, t('{size} at {x}, {y}', { size: sizeWords(piece.from[2], piece.from[3]), x: piece.to[0], y: piece.to[1] }))),
    el('div', { class: 'piece-buttons' },
      iconButton('up', t('Lay {name} on top', { name: piece.name }), () => raise(piece.id), { class: 'small', 'data-key': `raise-${piece.id}` }),
      iconButton('trash', t('Remove {name}', { name: piece.name }), () => remove(piece.id), { class: 'small', 'data-key': `remove-${piece.id}` })));
}

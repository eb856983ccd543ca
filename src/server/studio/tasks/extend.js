/** The picture goes on beyond its borders: a handle on each side is dragged outwards, in whole cells. */
import { store } from '../store.js';
import { beginStroke, change as edit, endStroke } from '../edits.js';
import { el } from '../dom.js';
import { numberInput } from '../form.js';
import { modelOf } from '../documents.js';
import { dataUriOf } from '../pictures.js';
import { palette } from '../palette.js';
import { currentScale, repaint } from '../stage.js';

const sides = ['left', 'right', 'top', 'bottom'];
const kReach = 20; // CSS pixels around a handle that still take it
const kMostCells = 64; // beyond one side

let dragging = false;
let near = null;

const extentOf = ({ doc, borders: b }) => ({ left: -b.left, top: -b.top, width: doc.width + b.left + b.right, height: doc.height + b.top + b.bottom });

/** The four handles in picture pixels, with how far along each side's outward direction a point lies. */
function handles({ doc, borders: b }) {
  const middleX = (doc.width + b.right - b.left) / 2;
  const middleY = (doc.height + b.bottom - b.top) / 2;
  return {
    left: { x: -b.left, y: middleY, out: (point) => -point.x, cursor: 'ew' },
    right: { x: doc.width + b.right, y: middleY, out: (point) => point.x - doc.width, cursor: 'ew' },
    top: { x: middleX, y: -b.top, out: (point) => -point.y, cursor: 'ns' },
    bottom: { x: middleX, y: doc.height + b.bottom, out: (point) => point.y - doc.height, cursor: 'ns' },
  };
}

function setSide(side, pixels) {
  const { borders, doc } = store.get().edit;
  const cells = Math.max(0, Math.min(kMostCells, Math.round(pixels / doc.factor)));
  if (cells * doc.factor !== borders[side]) edit({ borders: { ...borders, [side]: cells * doc.factor } });
}

function paintHandle(context, handle, side, scale, colours) {
  const upright = side === 'left' || side === 'right';
  const long = 34 / scale;
  const short = 10 / scale;
  const width = upright ? short : long;
  const height = upright ? long : short;
  context.beginPath();
  context.roundRect(handle.x - width / 2, handle.y - height / 2, width, height, 5 / scale);
  context.fillStyle = near === side ? colours.accent : colours.panel;
  context.fill();
  context.strokeStyle = colours.accent;
  context.lineWidth = 2 / scale;
  context.stroke();
}

export const extend = {
  id: 'extend', label: 'Extend', icon: 'extend', verb: 'outpaint',
  lead: 'Drag a handle outwards: the picture goes on beyond its border.',
  needsPicture: true, canvas: true, initial: { count: 4 }, margin: 64,
  runLabel: (state, count) => (count === 1 ? 'Extend the picture' : `Extend it ${count} ways`),
  missing: (state) => (sides.every((side) => state.edit.borders[side] === 0) ? 'Drag a handle, or type how far to go.' : ''),
  status(state) {
    const extent = extentOf(state.edit);
    return `${extent.width} × ${extent.height} pixels`;
  },
  extent: (state) => extentOf(state.edit),
  holdsCamera: () => dragging,
  size: (state) => extentOf(state.edit),
  base: (state) => ({ image: state.edit.doc.image, x: state.edit.borders.left, y: state.edit.borders.top }),
  request: (state) => ({
    image: dataUriOf(state.edit.doc.image),
    ...Object.fromEntries(sides.filter((side) => state.edit.borders[side]).map((side) => [side, state.edit.borders[side]])),
  }),

  paint(context, state, scene, scale) {
    if (scene.kind !== 'picture') return;
    const colours = palette();
    const { extent } = scene;
    const { doc } = state.edit;
    context.save();
    // The new ground: open tiles all around.
    context.fillStyle = colours.tileEdge;
    const f = doc.factor;
    context.beginPath();
    context.rect(extent.left, extent.top, extent.width, extent.height);
    context.rect(0, 0, doc.width, doc.height);
    context.fill('evenodd');
    context.fillStyle = colours.tile;
    const inset = f * 0.07;
    for (let y = extent.top; y < extent.top + extent.height; y += f)
      for (let x = extent.left; x < extent.left + extent.width; x += f)
        if (x < 0 || y < 0 || x >= doc.width || y >= doc.height) context.fillRect(x + inset, y + inset, f - 2 * inset, f - 2 * inset);
    for (const [side, handle] of Object.entries(handles(state.edit))) paintHandle(context, handle, side, scale, colours);
    context.restore();
  },

  handler(point, state) {
    if (!state.edit.doc || state.shown === 'result') return null;
    const all = handles(state.edit);
    const scale = currentScale();
    let found = null;
    for (const [side, handle] of Object.entries(all)) {
      const distance = Math.hypot(handle.x - point.x, handle.y - point.y) * scale;
      if (distance < kReach && (!found || distance < found.distance)) found = { side, handle, distance };
    }
    if (near !== (found?.side ?? null)) {
      near = found?.side ?? null;
      repaint();
    }
    if (!found) return null;
    const { side, handle } = found;
    return {
      cursor: handle.cursor,
      down() { dragging = true; beginStroke(); },
      move: (now) => setSide(side, handle.out(now)),
      up() { dragging = false; endStroke(); },
      cancel() { dragging = false; },
    };
  },

  keys(event, state) {
    const side = { ArrowLeft: 'left', ArrowRight: 'right', ArrowUp: 'top', ArrowDown: 'bottom' }[event.key];
    if (!side || !state.edit.doc || state.shown === 'result') return false;
    setSide(side, state.edit.borders[side] + (event.shiftKey ? -1 : 1) * state.edit.doc.factor);
    return true;
  },

  form(state) {
    const { doc, borders } = state.edit;
    const side = (name) => el('div', { class: 'field' }, el('label', { for: `extend-${name}` }, name[0].toUpperCase() + name.slice(1)),
      numberInput(`extend-${name}`, { min: 0, max: kMostCells * (doc?.factor ?? 1), step: doc?.factor ?? 1, value: borders[name], set: (value) => setSide(name, value) }));
    return [
      el('div', { class: 'field' }, el('span', { class: 'field-label' }, 'Pixels beyond each side'),
        el('div', { class: 'cross', role: 'group', 'aria-label': 'Pixels beyond each side' }, el('span'), side('top'), el('span'), side('left'), el('div', { class: 'middle', 'aria-hidden': 'true' }, doc ? thumbnail(doc.image) : null), side('right'), el('span'), side('bottom'), el('span'))),
      modelOf(state) ? el('p', { class: 'field-help' }, `In steps of ${modelOf(state).factor} pixels, one cell. On the picture, arrow keys extend, Shift takes back.`) : null,
    ];
  },
};

function thumbnail(image) {
  const small = document.createElement('canvas');
  small.width = small.height = 116;
  const ratio = Math.min(116 / image.width, 116 / image.height);
  small.getContext('2d').drawImage(image, (116 - image.width * ratio) / 2, (116 - image.height * ratio) / 2, image.width * ratio, image.height * ratio);
  return small;
}

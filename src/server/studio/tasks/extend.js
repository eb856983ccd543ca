/** The picture goes on beyond its borders: a handle on each side is dragged outwards, in whole cells. */
import { store } from '../store.js';
import { beginStroke, change as edit, endStroke } from '../edits.js';
import { button, el } from '../dom.js';
import { numberInput, refreshForm } from '../form.js';
import { modelOf } from '../documents.js';
import { dataUriOf } from '../pictures.js';
import { palette } from '../palette.js';
import { currentScale, repaint } from '../stage.js';
import { handleAt, handlesOf, paintHandles, sides } from './handles.js';
import { sizeWords, t } from '../words.js';

const kMostCells = 64; // beyond one side

let dragging = false;
let near = null;

const extentOf = ({ doc, borders: b }) => ({ left: -b.left, top: -b.top, width: doc.width + b.left + b.right, height: doc.height + b.top + b.bottom });

/** How far a point lies beyond a side. */
const beyond = {
  left: (point) => -point.x, right: (point, doc) => point.x - doc.width, top: (point) => -point.y, bottom: (point, doc) => point.y - doc.height,
};

function setSide(side, pixels) {
  const { borders, doc } = store.get().edit;
  const cells = Math.max(0, Math.min(kMostCells, Math.round(pixels / doc.factor)));
  if (cells * doc.factor !== borders[side]) edit({ borders: { ...borders, [side]: cells * doc.factor } });
}

/** The picture and the ground around it become a canvas that holds further pieces. */
function layOnCanvas() {
  const { edit: now, taskOptions } = store.get();
  const { doc, borders } = now;
  const { width, height } = extentOf(now);
  const whole = (length) => Math.floor(length / doc.factor) * doc.factor;
  const piece = { id: 1, image: doc.image, name: doc.name, from: [0, 0, whole(doc.width), whole(doc.height)], to: [borders.left, borders.top] };
  edit({ pieces: [piece], canvas: { width, height } });
  store.set({ task: 'stitch', taskOptions: { ...taskOptions, stitch: { ...taskOptions.stitch, onto: false } } });
  refreshForm();
}

const sideWords = { left: t('Left'), right: t('Right'), top: t('Top'), bottom: t('Bottom') };

export const extend = {
  id: 'extend', label: t('Extend'), icon: 'extend', verb: 'outpaint',
  lead: t('Drag a handle outwards: the picture goes on beyond its border.'),
  needsPicture: true, canvas: true, initial: { count: 4 }, margin: 64,
  runLabel: (state, count) => t('Extend it {count} ways', { count }),
  missing: (state) => (sides.every((side) => state.edit.borders[side] === 0) ? t('Drag a handle, or type how far to go.') : ''),
  status(state) {
    const extent = extentOf(state.edit);
    return t('{size} pixels', { size: sizeWords(extent.width, extent.height) });
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
    paintHandles(context, handlesOf(extent), near, scale);
    context.restore();
  },

  handler(point, state) {
    if (!state.edit.doc || state.shown === 'result') return null;
    const handles = handlesOf(extentOf(state.edit));
    const side = handleAt(handles, point, currentScale());
    if (near !== side) {
      near = side;
      repaint();
    }
    if (!side) return null;
    return {
      cursor: handles[side].cursor,
      down() { dragging = true; beginStroke(); },
      move: (now) => setSide(side, beyond[side](now, store.get().edit.doc)),
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
    const side = (name) => el('div', { class: 'field' }, el('label', { for: `extend-${name}` }, sideWords[name]),
      numberInput(`extend-${name}`, { min: 0, max: kMostCells * (doc?.factor ?? 1), step: doc?.factor ?? 1, value: borders[name], set: (value) => setSide(name, value) }));
    return [
      el('div', { class: 'field' }, el('span', { class: 'field-label' }, t('Pixels beyond each side')),
        el('div', { class: 'cross', role: 'group', 'aria-label': t('Pixels beyond each side') }, el('span'), side('top'), el('span'), side('left'), el('div', { class: 'middle', 'aria-hidden': 'true' }, doc ? thumbnail(doc.image) : null), side('right'), el('span'), side('bottom'), el('span'))),
      modelOf(state) ? el('p', { class: 'field-help' }, t('In steps of {pixels} pixels, one cell. On the picture, arrow keys extend, Shift takes back.', { pixels: modelOf(state).factor })) : null,
      doc ? button(t('Lay other pictures beside it'), layOnCanvas, { icon: 'stitch', class: 'small', 'data-key': 'extend-lay' }) : null,
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

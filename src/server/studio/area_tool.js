/** The work area on the whole photograph: dragged, scaled at its corners, moved by keys. What is painted stays where it is in the photograph. */
import { store } from './store.js';
import { announce } from './announce.js';
import { change } from './edits.js';
import { documentOf, loadTokens, modelOf } from './documents.js';
import { palette } from './palette.js';
import { currentScale, repaint } from './stage.js';
import { cropped, draggedBox, movedBox, movedMask, paintPhoto, scaledBox, withBox } from './work_area.js';
import { sizeWords, t } from './words.js';

const kReach = 22; // CSS pixels around a corner that take hold of it
const kStep = 1 / 16; // of the box, for a key
let moving = null; // the box while it is dragged

/** Whether the stage shows the whole photograph with its box. */
export const areaShown = (state) => state.tool === 'area' && Boolean(state.edit?.area) && state.shown === 'picture';

export const boxOf = (area) => moving ?? area.box;
export const areaWords = ({ box, photo }) => t('{part} of {whole}', { part: sizeWords(box.width, box.height), whole: sizeWords(photo.width, photo.height) });

export function areaScene(state) {
  const { area, doc } = state.edit;
  const { width, height } = area.photo;
  return {
    kind: 'area', image: null, at: { x: 0, y: 0, width, height }, extent: { left: 0, top: 0, width, height }, grid: { h: doc.h, w: doc.w, factor: doc.factor }, fits: false,
    tokens: null, open: null, fresh: null, base: null, mask: null, pins: null, name: t('Work area of {name}', { name: area.photo.name }),
  };
}

export function paintArea(context, state, scale) {
  const { area, doc } = state.edit;
  const { photo } = area;
  const box = boxOf(area);
  const colours = palette();
  context.save();
  paintPhoto(context, area, { live: { doc, cells: area.touched }, original: state.compare });
  context.globalAlpha = 0.5;
  context.fillStyle = colours.paper;
  context.beginPath();
  context.rect(0, 0, photo.width, photo.height);
  context.rect(box.x, box.y, box.width, box.height);
  context.fill('evenodd');
  context.globalAlpha = 1;
  for (const [colour, width] of [[colours.panel, 5], [colours.accent, 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / scale;
    context.strokeRect(box.x, box.y, box.width, box.height);
  }
  const side = 13 / scale;
  for (const [x, y] of corners(box)) {
    context.fillStyle = colours.panel;
    context.lineWidth = 2 / scale;
    context.beginPath();
    context.roundRect(x - side / 2, y - side / 2, side, side, 3 / scale);
    context.fill();
    context.stroke();
  }
  context.restore();
}

const corners = (box) => [[box.x, box.y], [box.x + box.width, box.y], [box.x, box.y + box.height], [box.x + box.width, box.y + box.height]];

/** The work area goes there; its document is cut out anew. */
export function placeArea(box) {
  const state = store.get();
  const { area, doc, mask } = state.edit;
  if (['x', 'y', 'width', 'height'].every((name) => box[name] === area.box[name])) return;
  const model = modelOf(state);
  const moved = withBox(area, doc, box);
  const next = documentOf(cropped(moved, model), doc.name);
  change({ area: moved, doc: next, original: next, mask: movedMask(mask, doc, area.box, box), pins: new Map() });
  loadTokens(next);
  announce(t('Work area {size} pixels, at {x}, {y}', { size: areaWords(moved), x: box.x, y: box.y }));
}

export function scaleArea(factor) {
  const state = store.get();
  const { area } = state.edit;
  if (area) placeArea(scaledBox(area, area.box, factor, modelOf(state)));
}

export function areaHandler(point, state) {
  const { area } = state.edit;
  const model = modelOf(state);
  const begin = { x: point.x, y: point.y };
  const from = area.box;
  const reach = kReach / currentScale();
  const corner = corners(from).findIndex(([x, y]) => Math.hypot(point.x - x, point.y - y) < reach);
  const inside = point.x >= from.x && point.y >= from.y && point.x < from.x + from.width && point.y < from.y + from.height;
  if (corner < 0 && !inside) return null;
  const end = () => { moving = null; repaint(); };
  return {
    cursor: corner < 0 ? 'move' : corner === 0 || corner === 3 ? 'nwse' : 'nesw',
    move(now) {
      moving = corner < 0 ? movedBox(area, from, now.x - begin.x, now.y - begin.y, model) : draggedBox(area, from, [corner % 2, corner >> 1], now, model);
      repaint();
    },
    up() { const box = moving; end(); if (box) placeArea(box); },
    cancel: end,
  };
}

/** Arrows move it, with Shift they scale it. Returns whether the key was taken. */
export function areaKey(event, state) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return false;
  const { area } = state.edit;
  if (event.shiftKey) scaleArea(step[0] + step[1] > 0 ? 1 / (1 + kStep) : 1 + kStep);
  else placeArea(movedBox(area, area.box, step[0] * Math.round(area.box.width * kStep), step[1] * Math.round(area.box.height * kStep), modelOf(state)));
  return true;
}

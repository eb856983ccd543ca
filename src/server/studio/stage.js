/** The stage: owns the canvas and the camera, paints when something changed, turns positions into cells. */
import { store } from './store.js';
import { sceneOf } from './scene.js';
import { areaShown, paintArea } from './area_tool.js';
import { paintSplit, splitShown } from './split.js';
import { taskOf } from './tasks/index.js';
import { paintScene, paintCells } from './painting.js';
import { fitted, panned, toPicture, zoomed } from './camera.js';
import { cellAt } from './cells.js';

const kMargin = 34; // CSS pixels around a fitted picture; room for handles

let canvas, frameElement;
let camera = { scale: 1, x: 0, y: 0 };
let size = { width: 1, height: 1, ratio: 1 };
let scheduled = false;
let scene = null;
let fittedTo = '';
let fittedWithin = 0; // the margin that was left
let userMoved = false;
let footprint = []; // cells under the tool
const watchers = new Set();

export const currentScene = () => scene;
export const currentScale = () => camera.scale;
export const stageSize = () => size;

/** Called with the scale after each painting. */
export const onPaint = (callback) => watchers.add(callback);

export function startStage(stageElement) {
  frameElement = stageElement;
  canvas = stageElement.querySelector('canvas');
  new ResizeObserver(measure).observe(stageElement);
  store.on([], repaint);
  measure();
}

function measure() {
  const box = frameElement.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  size = { width: Math.max(1, box.width), height: Math.max(1, box.height), ratio };
  canvas.width = Math.round(size.width * ratio);
  canvas.height = Math.round(size.height * ratio);
  if (!userMoved) fittedTo = '';
  repaint();
}

export function repaint() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    paint();
  });
}

/** A picture of another extent is fitted; the same one stays where the user put it. */
function fitWhenNew() {
  const key = scene ? `${scene.kind === 'area'} ${JSON.stringify(scene.extent)}` : '';
  if (!scene || (key === fittedTo && (userMoved || marginOf() === fittedWithin))) return;
  if (taskOf(store.get()).holdsCamera?.()) return;
  fittedTo = key;
  fittedWithin = marginOf();
  userMoved = false;
  camera = fitted(scene.extent, size.width, size.height, marginOf());
}

const marginOf = () => (taskOf(store.get()).margin ?? kMargin) * (size.width < 500 ? 0.45 : 1);

export function fit() {
  fittedTo = '';
  repaint();
}

export function pan(dx, dy) {
  userMoved = true;
  camera = panned(camera, dx, dy);
  repaint();
}

/** x, y: CSS pixels of the stage; its middle where they are left out. */
export function zoom(factor, x = size.width / 2, y = size.height / 2) {
  userMoved = true;
  camera = zoomed(camera, factor, x, y);
  repaint();
}

/** Position on the stage (CSS pixels) and in the picture of a pointer event. */
export function pointOf(event) {
  const box = frameElement.getBoundingClientRect();
  const stage = { x: event.clientX - box.left, y: event.clientY - box.top };
  return { ...toPicture(camera, stage.x, stage.y), stage };
}

export const cellOf = (point) => (scene ? cellAt(scene.grid, point.x, point.y) : null);

/** Middle of a cell on the stage, CSS pixels. */
export function placeOf(cell) {
  const f = scene.grid.factor;
  return { x: (cell.x + 0.5) * f * camera.scale + camera.x, y: (cell.y + 0.5) * f * camera.scale + camera.y };
}

export function showFootprint(cells) {
  footprint = cells;
  repaint();
}

/** Cell borders are drawn when asked for, and faintly while the pointer is over cells large enough to tell apart. */
function gridStrength(state) {
  if (!scene.fits || state.compare) return 0;
  if (state.grid) return 0.4;
  return state.blend === 0 && state.hover && camera.scale * scene.grid.factor > 14 ? 0.16 : 0;
}

function paint() {
  const state = store.get();
  scene = sceneOf(state);
  fitWhenNew();
  const context = canvas.getContext('2d');
  const { ratio } = size;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (scene) {
    context.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale, ratio * camera.x, ratio * camera.y);
    const a = toPicture(camera, 0, 0);
    const b = toPicture(camera, size.width, size.height);
    const view = { left: a.x, top: a.y, right: b.x, bottom: b.y };
    if (areaShown(state)) paintArea(context, state, camera.scale);
    else {
      paintScene(context, scene, view, camera.scale, { blend: state.blend, grid: gridStrength(state), crisp: state.crisp });
      taskOf(state).paint?.(context, state, scene, camera.scale);
      if (splitShown(state)) paintSplit(context, scene, view, camera.scale, state.split, () => paintScene(context, sceneOf({ ...state, compare: true }), view, camera.scale, { crisp: state.crisp }));
    }
    if (footprint.length && !state.compare) paintCells(context, scene.grid, footprint, camera.scale, false);
    if (state.inspect?.cell && state.panel === 'cell') paintCells(context, scene.grid, [state.inspect.cell.y * scene.grid.w + state.inspect.cell.x], camera.scale, true);
    const { cursor } = state;
    if (cursor.visible && scene.fits && cursor.y < scene.grid.h && cursor.x < scene.grid.w) paintCells(context, scene.grid, [cursor.y * scene.grid.w + cursor.x], camera.scale, true);
  }
  for (const watcher of watchers) watcher(scene, camera.scale);
}

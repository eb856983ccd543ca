/** Mouse, touch and pen on the stage: one pointer works the tool, two pinch, space, the middle button or the hand pans, the wheel zooms. */
import { store } from './store.js';
import { cancelStroke } from './edits.js';
import { cellOf, currentScene, pan, pointOf, showFootprint, zoom } from './stage.js';
import { areaHandler, areaShown } from './area_tool.js';
import { splitHandler } from './split.js';
import { taskOf } from './tasks/index.js';
import { toolOf } from './mask_tools.js';

const pointers = new Map(); // id -> last position on the stage
let active = null; // the handler of the pointer that is down
let pinch = null;
let spaceHeld = false;

const panning = { cursor: 'grabbing', move: (point, event, last) => pan(point.stage.x - last.x, point.stage.y - last.y) };

function handlerFor(point, event) {
  if (spaceHeld || event.button === 1 || store.get().tool === 'hand') return panning;
  const state = store.get();
  if (areaShown(state)) return areaHandler(point, state) ?? panning;
  return splitHandler(point, state) ?? taskOf(state).handler?.(point, state, event) ?? toolOf(state, currentScene()) ?? panning;
}

export function startPointer(stage) {
  const setCursor = (name) => { stage.dataset.cursor = name; };

  stage.addEventListener('pointerdown', (event) => {
    if (event.button > 1) return;
    const point = pointOf(event);
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point.stage);
    if (store.get().cursor.visible) store.set({ cursor: { ...store.get().cursor, visible: false } });
    if (pointers.size === 2) {
      active?.cancel?.();
      cancelStroke();
      active = null;
      pinch = spread();
      return;
    }
    if (pointers.size > 2) return;
    if (event.pointerType === 'mouse') event.preventDefault();
    stage.focus({ preventScroll: true });
    active = handlerFor(point, event);
    if (active?.cursor) setCursor(active.cursor);
    active?.down?.(point, event);
  });

  stage.addEventListener('pointermove', (event) => {
    const point = pointOf(event);
    const last = pointers.get(event.pointerId);
    if (last) pointers.set(event.pointerId, point.stage);
    if (pinch && pointers.size === 2) return movePinch();
    if (active && last) {
      const steps = event.getCoalescedEvents?.() ?? [];
      if (active !== panning) for (const step of steps.slice(0, -1)) active.move?.(pointOf(step), step, last);
      active.move?.(point, event, last);
    }
    if (!last) hover(point, event);
    setHover(areaShown(store.get()) ? null : cellOf(point));
  });

  const release = (event, cancelled) => {
    if (!pointers.delete(event.pointerId)) return;
    if (pinch) {
      if (pointers.size < 2) pinch = null;
      return;
    }
    if (cancelled) {
      active?.cancel?.();
      cancelStroke();
    } else active?.up?.(pointOf(event), event);
    active = null;
    hover(pointOf(event), event);
    if (event.pointerType !== 'mouse') leave();
  };
  stage.addEventListener('pointerup', (event) => release(event, false));
  stage.addEventListener('pointercancel', (event) => release(event, true));
  stage.addEventListener('pointerleave', () => pointers.size || leave());

  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const point = pointOf(event);
    const pixels = event.deltaY * (event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 240 : 1);
    zoom(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)), point.stage.x, point.stage.y);
  }, { passive: false });

  function leave() {
    setHover(null);
    showFootprint([]);
  }

  function hover(point, event) {
    const handler = handlerFor(point, event);
    setCursor(handler === panning ? 'grab' : handler?.cursor ?? '');
    showFootprint(handler?.footprint?.(point) ?? []);
  }

  window.addEventListener('keydown', (event) => {
    if (event.code !== 'Space' || event.repeat || event.target !== stage || store.get().cursor.visible) return;
    event.preventDefault();
    spaceHeld = true;
    setCursor('grab');
  });
  window.addEventListener('keyup', (event) => {
    if (event.code !== 'Space') return;
    spaceHeld = false;
    setCursor('');
  });
  window.addEventListener('blur', () => { spaceHeld = false; });
}

function setHover(cell) {
  const before = store.get().hover;
  if (before?.x === cell?.x && before?.y === cell?.y) return;
  store.set({ hover: cell });
}

function spread() {
  const [a, b] = [...pointers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
}

function movePinch() {
  const now = spread();
  pan(now.x - pinch.x, now.y - pinch.y);
  zoom(now.distance / pinch.distance, now.x, now.y);
  pinch = now;
}

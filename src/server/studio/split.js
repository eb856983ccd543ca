/** The original and what became of it in one picture: a divider is dragged over it, the original on its left. */
import { store } from './store.js';
import { palette } from './palette.js';
import { currentScene, currentScale } from './stage.js';
import { taskOf } from './tasks/index.js';

const kReach = 16; // CSS pixels beside the divider that take hold of it
const kGrip = 11; // CSS pixels, radius of what one sees to take hold of

/** Whether there is another state to compare with. */
export function canSplit(state) {
  const { edit, job, shown } = state;
  if (shown === 'result') return job?.phase === 'done' && Boolean(job.base);
  return Boolean(edit?.doc) && !taskOf(state).scene?.(state) && (edit.original?.image !== edit.doc.image || Boolean(edit.area?.touched));
}

export const splitShown = (state) => state.split !== null && !state.compare && canSplit(state);

const placeIn = ({ extent }, split) => extent.left + split * extent.width;

/** Draws the part of the original: `original` paints it, in picture pixels. view: what is in sight. */
export function paintSplit(context, scene, view, scale, split, original) {
  const colours = palette();
  const x = placeIn(scene, split);
  context.save();
  context.beginPath();
  context.rect(view.left, view.top, x - view.left, view.bottom - view.top);
  context.clip();
  context.fillStyle = colours.paper;
  context.fillRect(view.left, view.top, x - view.left, view.bottom - view.top);
  original();
  context.restore();
  const { top, height } = scene.extent;
  for (const [colour, width] of [[colours.panel, 5], [colours.ink, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / scale;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, top + height);
    context.stroke();
  }
  context.beginPath();
  context.arc(x, top + height / 2, kGrip / scale, 0, 7);
  context.fillStyle = colours.panel;
  context.fill();
  context.stroke();
}

/** A handler for the divider, or null where the point is not on it. */
export function splitHandler(point, state) {
  const scene = currentScene();
  if (!scene || !splitShown(state) || Math.abs(point.x - placeIn(scene, state.split)) * currentScale() > kReach) return null;
  return { cursor: 'ew', move: (now) => setSplit((now.x - scene.extent.left) / scene.extent.width) };
}

export const setSplit = (split) => store.set({ split: Math.max(0, Math.min(1, split)) });
export const toggleSplit = () => store.set({ split: store.get().split === null ? 0.5 : null });

/**
 * What the studio can do. A task is
 *   {id, label, icon, lead, verb unless its request has one, runLabel(state, count)}
 *   needsPicture, hasPicture(state) where it is not the one under edit alone, usesMask, maskMeans change | keep, initial {option: value}, without [option names it does not take]
 *   scene(state) of its own, or null,      paint(context, state, scene, scale)
 *   handler(point, state, event) a pointer handler of its own, or null     keys(event, state) true where it took the key
 *   form(state) its own fields     missing(state) why it cannot run yet, or ''
 *   request(state) its part of the request     size(state) {width, height} of the results     base(state) {image, x, y} under them
 *   takePicture(canvas, name) where pictures go that are opened, pasted or dropped while takesPicture(state)
 */
import { generate } from './generate.js';
import { change } from './change.js';
import { keep } from './keep.js';
import { extend } from './extend.js';
import { wide } from './wide.js';
import { vary } from './vary.js';

export const tasks = [generate, change, keep, extend, wide, vary];

const former = { stitch: 'extend' };

/** Jobs and sessions of earlier versions name tasks that are part of another now. */
export const presentTask = (id) => former[id] ?? id;

export function taskById(id) {
  const task = tasks.find((other) => other.id === id);
  if (!task) throw new Error(`task '${id}': expected one of ${tasks.map((other) => other.id).join(', ')}`);
  return task;
}

export const taskOf = (state) => taskById(state.task);

/** Whether the task has no picture to work on, and needs one. */
export const lacksPicture = (state, task = taskOf(state)) => Boolean(task.needsPicture) && !(task.hasPicture?.(state) ?? state.edit.doc);

/** An option of the task alone. */
export const taskOption = (state, task, name, initial) => state.taskOptions[task]?.[name] ?? initial;

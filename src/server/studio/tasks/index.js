/**
 * What the studio can do. A task is
 *   {id, label, icon, lead, verb, run(state) label of the button}
 *   needsPicture, usesMask, maskMeans change | keep, initial {option: value}, without [option names it does not take]
 *   extent(state) {left, top, width, height} of the stage     scene(state), paint(context, state, scene, scale)
 *   handler(point, state, event) a pointer handler of its own, or null     keys(event, state) true where it took the key
 *   form(state) its own fields     missing(state) why it cannot run yet, or ''
 *   request(state) its part of the request     size(state) {width, height} of the results     base(state) {image, x, y} under them
 *   takePicture(canvas, name) where pictures go that are opened, pasted or dropped
 */
import { generate } from './generate.js';
import { change } from './change.js';
import { keep } from './keep.js';
import { extend } from './extend.js';
import { stitch } from './stitch.js';
import { wide } from './wide.js';
import { vary } from './vary.js';

export const tasks = [generate, change, keep, extend, stitch, wide, vary];

export function taskById(id) {
  const task = tasks.find((other) => other.id === id);
  if (!task) throw new Error(`task '${id}': expected one of ${tasks.map((other) => other.id).join(', ')}`);
  return task;
}

export const taskOf = (state) => taskById(state.task);

/** An option of the task alone. */
export const taskOption = (state, task, name, initial) => state.taskOptions[task]?.[name] ?? initial;

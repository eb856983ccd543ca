/**
 * A grid of two options: the task as it stands, once for each pair of values, everything else alike (the seed too, unless it is one of the two).
 * (store: xy: {key, title, facts, x: {name, label, values}, y: the same or null, cells: [{request, about, entry, error}] row by row, shown})
 *   entry   the finished job as the history has it, or null     what a cell waits for is read off the queue and the job that runs
 */
import { store } from './store.js';
import { announce, toast } from './announce.js';
import { entryOfJob, remember, show } from './history.js';
import { newSeed } from './form.js';
import { aboutOf, missing, requestOf, whenDone } from './job_runner.js';
import { enqueue, itemOf } from './queue.js';
import { factWords } from './option_words.js';
import { taskOf } from './tasks/index.js';
import { labelOf, typedValues, valuesOf, withValue } from './xy_axes.js';
import { t } from './words.js';

export const kMostCells = 64;
export const kNone = 'none';

/** The names of the two options that are chosen. */
export const axisNames = (state) => ({ x: state.taskOptions.xy?.x ?? 'temperature', y: state.taskOptions.xy?.y ?? 'seed' });

/** {x: {name, label, values}, y or null, count} of what is typed, or {fault}. */
export function planOf(state) {
  const names = axisNames(state);
  if (names.x === names.y) return { fault: t('Columns and rows are the same option: choose another for one of them.') };
  const sides = {};
  for (const side of ['x', 'y']) {
    const name = names[side];
    if (name === kNone) { sides[side] = null; continue; }
    const { values, fault } = valuesOf(state, name, typedValues(side, name, state));
    if (fault) return { fault };
    sides[side] = { name, label: labelOf(state, name), values };
  }
  const count = sides.x.values.length * (sides.y?.values.length ?? 1);
  if (count > kMostCells) return { fault: t('{count} pictures: a grid holds at most {most}.', { count, most: kMostCells }) };
  return { ...sides, count };
}

const kFacts = ['prompt', 'seed', 'temperature', 'steps', 'sampler', 'cfg_scale', 'strength'];

/** Puts all cells of the grid into the queue. Says why where it cannot. */
export function makeGrid() {
  const state = store.get();
  const plan = planOf(state);
  const why = missing(state) || plan.fault;
  if (why) {
    toast(why);
    return;
  }
  const key = `xy${Date.now()}`;
  const base = { ...state, options: { ...state.options, count: 1, seed: state.options.seed ?? newSeed() } };
  const cells = [];
  for (const y of plan.y?.values ?? [null]) for (const x of plan.x.values) {
    let one = withValue(base, plan.x.name, x);
    if (plan.y) one = withValue(one, plan.y.name, y);
    cells.push({ request: requestOf(one), about: { ...aboutOf(one), cell: { key, index: cells.length } }, entry: null, error: '' });
  }
  const { label } = taskOf(state);
  const varied = [plan.x.name, plan.y?.name];
  const { request: first } = cells[0];
  const facts = kFacts.filter((name) => first[name] !== undefined && !varied.includes(name)).map((name) => factWords(name, first[name])).join(' · ');
  const title = plan.y ? t('{task}: {x} by {y}', { task: label, x: plan.x.label, y: plan.y.label }) : t('{task}: {x}', { task: label, x: plan.x.label });
  if (!enqueue(itemOf(title, t('{count} pictures', { count: cells.length }), cells.map(({ request, about }) => ({ request, about }))))) return;
  const typed = Object.fromEntries(['x', 'y'].filter((side) => plan[side]).map((side) => [`${side}-${plan[side].name}`, typedValues(side, plan[side].name, state)]));
  store.set({ taskOptions: { ...state.taskOptions, xy: { ...state.taskOptions.xy, ...typed } } }); // seeds that were proposed stay
  store.set({ xy: { key, title, facts, x: plan.x, y: plan.y, cells, shown: true }, drawer: false });
}

export const showGrid = (shown) => { if (store.get().xy) store.set({ xy: { ...store.get().xy, shown } }); };

/** done | failed | running | waiting | left: what has become of a cell. */
export function phaseOf(state, index) {
  const { xy, live, queue } = state;
  const { entry, error } = xy.cells[index];
  const isIt = (cell) => cell?.key === xy.key && cell.index === index;
  if (entry) return 'done';
  if (isIt(live?.cell)) return 'running';
  if (error) return 'failed';
  const waits = (item, from) => item.jobs.slice(from).some(({ about }) => isIt(about.cell));
  return queue.waiting.some((item) => waits(item, item.begun)) || (queue.current && waits(queue.current, queue.current.begun)) ? 'waiting' : 'left';
}

function setCell({ key, index }, patch) {
  const { xy } = store.get();
  if (xy?.key !== key) return;
  store.set({ xy: { ...xy, cells: xy.cells.map((cell, k) => (k === index ? { ...cell, ...patch } : cell)) } });
  const { cells } = store.get().xy;
  if (cells.every(({ entry }) => entry)) announce(t('The grid is complete.'));
}

/** A finished cell comes on the stage, and into the history. */
export function openCell(index) {
  const { entry } = store.get().xy.cells[index];
  if (!entry) return;
  remember(entry);
  showGrid(false);
  show(entry, 0);
}

/** The words of a cell: the values of its column and row. */
export function cellWords({ x, y }, index) {
  const column = `${x.label} ${x.values[index % x.values.length]}`;
  return y ? `${column}, ${y.label} ${y.values[Math.floor(index / x.values.length)]}` : column;
}

export function startGrid() {
  whenDone((job) => { if (job.cell) setCell(job.cell, { entry: entryOfJob(job), error: '' }); });
  store.on(['ended'], ({ ended }) => { if (ended?.cell && ended.phase === 'failed' && !ended.full) setCell(ended.cell, { error: ended.error }); });
}

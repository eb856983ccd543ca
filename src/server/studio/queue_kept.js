/**
 * The queue and the grid of options, kept in the browser's own database as they change: after a reload what waits goes on waiting. They are
 * of one tab: two tabs would send the same jobs. The requests of an item are kept as what they differ in from its first.
 */
import { store } from './store.js';
import { loadKept, saveKept } from './history_store.js';
import { canvasOf, pngOf } from './pictures.js';
import { startQueue } from './queue.js';
import { presentTask } from './tasks/index.js';

/** Fields of a request that are not those of the first, and names it lacks. */
function differenceOf(request, first) {
  const other = Object.entries(request).filter(([name, value]) => first[name] !== value && JSON.stringify(first[name]) !== JSON.stringify(value));
  return { other: Object.fromEntries(other), lacks: Object.keys(first).filter((name) => !(name in request)) };
}

function requestFrom({ other, lacks }, first) {
  const request = { ...first, ...other };
  for (const name of lacks) delete request[name];
  return request;
}

/** A canvas becomes a PNG; of a work area its box, by which it is known again. */
export const writtenBase = async (base) => base && { x: base.x, y: base.y, box: base.area?.box ?? null, match: base.match ?? false, image: await pngOf(base.image) };

export async function readBase(saved) {
  if (!saved) return null;
  const { area } = store.get().edit;
  const same = area && saved.box && ['x', 'y', 'width', 'height'].every((name) => area.box[name] === saved.box[name]);
  return { x: saved.x, y: saved.y, match: saved.match, image: await canvasOf(saved.image), ...(same ? { area } : {}) };
}

const writtenAbout = async (about) => ({ ...about, base: await writtenBase(about.base) });
const readAbout = async (about) => ({ ...about, task: presentTask(about.task), base: await readBase(about.base) });

async function writtenItem({ jobs, ...item }) {
  const first = jobs[0].request;
  return { ...item, first, jobs: await Promise.all(jobs.map(async ({ request, about }) => ({ ...differenceOf(request, first), about: await writtenAbout(about) }))) };
}

const readItem = async ({ first, jobs, ...item }) => ({ ...item, seen: true, jobs: await Promise.all(jobs.map(async (job) => ({ request: requestFrom(job, first), about: await readAbout(job.about) }))) });

async function writtenGrid(xy) {
  if (!xy) return null;
  const first = xy.cells[0].request;
  return { ...xy, first, cells: await Promise.all(xy.cells.map(async ({ request, about, entry, error }) => {
    const { base = null, request: asked = null, ...kept } = entry ?? {};
    void base;
    void asked; // they are the cell's
    return { ...differenceOf(request, first), about: await writtenAbout(about), entry: entry && kept, error };
  })) };
}

async function readGrid(saved) {
  if (!saved) return null;
  const { first, ...xy } = saved;
  return { ...xy, cells: await Promise.all(saved.cells.map(async ({ entry, error, ...cell }) => {
    const request = requestFrom(cell, first);
    const about = await readAbout(cell.about);
    const pictures = entry?.pictures.map((picture) => ({ ...picture, url: URL.createObjectURL(picture.blob) }));
    return { request, about, error, entry: entry && { ...entry, request, base: about.base, pictures } };
  })) };
}

/** What of the item at work has not been sent; the job that is running is followed by itself. */
const unsent = (item, live) => (item && item.jobs.length > item.begun ? [item] : item && !live?.id ? [{ ...item, begun: item.begun - 1 }] : []);

async function record() {
  const { queue, xy, live } = store.get();
  return { waiting: await Promise.all([...unsent(queue.current, live), ...queue.waiting].map(writtenItem)), xy: await writtenGrid(xy) };
}

/** Puts back what this tab had waiting. Needs the edit, and comes before the job that runs is followed on. */
export async function resumeQueue() {
  const saved = await loadKept();
  if (!saved) return;
  const [waiting, xy] = await Promise.all([Promise.all(saved.waiting.map(readItem)), readGrid(saved.xy)]);
  store.set({ queue: { ...store.get().queue, waiting }, xy });
}

/** Sends what waits, and keeps it from now on. */
export function startKeptQueue() {
  let writing = Promise.resolve();
  let again = false;
  let seen = '';
  const write = () => {
    if (again) return;
    again = true;
    writing = writing.then(() => {
      again = false;
      return record().then(saveKept);
    }).catch(() => {}); // a private window may refuse
  };
  store.on(['queue', 'xy', 'live'], ({ live }, names) => {
    const now = live?.id ?? '';
    if (names.has('queue') || names.has('xy') || now !== seen) write();
    seen = now;
  });
  startQueue();
}

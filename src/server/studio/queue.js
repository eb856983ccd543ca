/**
 * Jobs that wait for their turn in the page (store: queue). What is pressed while a job runs is sent when it is done; the order can be
 * changed until then. An item is one job, or all cells of a grid of options.
 *   queue  {waiting: [item], current: item or null, held: why it waits or ''}
 *   item   {key, title, facts, jobs: [{request, about}], begun: jobs of it that were sent, seen: it has waited}     about: what runRequest takes
 */
import { store } from './store.js';
import { announce, toast } from './announce.js';
import { aboutOf, isBusy, missing, requestOf, runRequest } from './job_runner.js';
import { factWords as optionWords } from './option_words.js';
import { taskOf } from './tasks/index.js';
import { t } from './words.js';

const kMost = 100; // items that may wait
const kLeastPause = 2; // seconds before a server that is full is asked again

let keys = 0;
let working = false;
let timer = 0;

const set = (patch) => store.set({ queue: { ...store.get().queue, ...patch } });

/** The item with a key of its own. */
export const itemOf = (title, facts, jobs) => ({ key: `q${Date.now()}-${++keys}`, title, facts, jobs, begun: 0, seen: false });

/** Sends it now where nothing runs, else when its turn comes. Resolves to whether it is in. */
export function enqueue(item) {
  const { queue, live } = store.get();
  if (queue.waiting.length >= kMost) {
    announce(t('The queue is full.'));
    return false;
  }
  const waits = isBusy(live) || queue.waiting.length > 0 || queue.current !== null;
  set({ waiting: [...queue.waiting, item] });
  if (waits) announce(t('{title} waits in the queue, place {place}', { title: item.title, place: queue.waiting.length + 1 }));
  advance();
  return true;
}

/** What of a request tells it from others in a list. */
const factWords = ({ prompt, seed }) => [prompt, optionWords('seed', seed)].filter(Boolean).join(' · ');

/** The task as it stands. Says why where it cannot run. */
export function pressRun() {
  const state = store.get();
  const why = missing(state);
  if (why) {
    toast(why);
    return false;
  }
  const request = requestOf(state);
  return enqueue(itemOf(taskOf(state).label, factWords(request), [{ request, about: aboutOf(state) }]));
}

export const leave = (key) => set({ waiting: store.get().queue.waiting.filter((item) => item.key !== key) });
export const emptyQueue = () => set({ waiting: [] });

/** One place to the front (-1) or back (1). */
export function shift(key, by) {
  const waiting = [...store.get().queue.waiting];
  const from = waiting.findIndex((item) => item.key === key);
  const to = from + by;
  if (from < 0 || to < 0 || to >= waiting.length) return;
  [waiting[from], waiting[to]] = [waiting[to], waiting[from]];
  set({ waiting });
  announce(t('{title} is at place {place}', { title: waiting[to].title, place: to + 1 }));
}

/** Goes on after the queue was held. */
export function goOn() {
  clearTimeout(timer);
  set({ held: '' });
  advance();
}

/** What has not been sent of an item waits again, before all others. */
function putBack(item, held, seconds) {
  set({ current: null, waiting: [item, ...store.get().queue.waiting], held });
  clearTimeout(timer);
  if (seconds) timer = setTimeout(goOn, 1000 * Math.max(kLeastPause, seconds));
}

/** The jobs of an item, one after the other. */
async function work(item) {
  set({ current: item, waiting: store.get().queue.waiting.filter((other) => other !== item) });
  for (let k = item.begun; k < item.jobs.length; k++) {
    const now = { ...item, begun: k + 1 };
    set({ current: now });
    const { request, about } = item.jobs[k];
    const { edit, shown, queue } = store.get();
    const patient = item.seen || queue.waiting.length > 0;
    const done = await runRequest(request, { ...about, patient, aside: item.seen && shown === 'picture' && Boolean(edit.doc) });
    if (done) continue;
    const { ended } = store.get();
    if (ended?.full && patient) return putBack({ ...item, begun: k, seen: true }, ended.error, ended.retryAfter);
    if (ended?.lost && (item.jobs.length > k + 1 || store.get().queue.waiting.length)) return putBack({ ...item, begun: k, seen: true }, ended.error, 0);
    if (ended?.phase === 'cancelled') break; // the rest of a grid goes with it
  }
  set({ current: null });
  return undefined;
}

/** The next item, where nothing runs. */
export async function advance() {
  const { queue, live } = store.get();
  if (working || queue.held || isBusy(live) || !queue.waiting.length) return;
  working = true;
  const [item] = queue.waiting;
  try {
    await work(item);
  } finally {
    working = false;
  }
  const { waiting } = store.get().queue;
  if (waiting.length) {
    set({ waiting: waiting.map((other) => ({ ...other, seen: true })) }); // somebody may be at work on the picture by now
    advance();
  }
}

/** Jobs that were begun beside the queue end too. */
export function startQueue() {
  store.on(['ended'], () => { advance(); });
  advance();
}

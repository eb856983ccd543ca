/**
 * Sends a job, follows it, brings its results in. The job on the stage (store: job):
 *   {id, task, title, request, count, width, height, base, phase: sending | queued | running | done | failed | cancelled,
 *    position, progress, grid: [h, w], factor, origin: {x, y} pixel of the result on which the grid begins, frame (job_frames.js),
 *    guesses: [canvas] of the whole as the model would finish it at once, or left out,
 *    previews: [canvas], seen: [tokens that the preview shows], results: [{image, tokens, order, seed, ...}], span: {first, last} steps or null, selected,
 *    playStep: null at the end | step, error, command, notes, seconds}
 */
import * as api from './api.js';
import { store } from './store.js';
import { announce, complain, toast } from './announce.js';
import { flatTokens } from './cells.js';
import { learnCodeColours } from './codebook.js';
import { matchedResult, wantsMatch } from './colour_match.js';
import { modelOf } from './documents.js';
import { optionOf, optionsOf } from './fields.js';
import { newSeed } from './form.js';
import { spanOf, withFrame } from './job_frames.js';
import { canvasOf } from './pictures.js';
import { lacksPicture, taskOf } from './tasks/index.js';
import { sizeWords, t } from './words.js';

const kRetries = 5; // times a broken stream of events is taken up again, each after twice as long
const kPause = 250; // ms before the first
const kLongest = 4000; // ms between two tries of a server that keeps its jobs: it may be starting anew
const kPatience = 60; // of these
let current = null; // {number, abort}
let numbers = 0;

export const isBusy = (job) => Boolean(job) && ['sending', 'queued', 'running'].includes(job.phase);

/** Why the task cannot run now, or ''. */
export function missing(state) {
  const task = taskOf(state);
  if (!state.capabilities) return t('Waiting for the server.');
  if (!modelOf(state)) return t('The server has no model loaded.');
  if (lacksPicture(state)) return t('Open a picture first, or generate one.');
  return task.missing(state) || tooLarge(task.size(state), optionOf(state, 'count', task), state.capabilities.limits);
}

/** What the server would refuse is said here, before pictures have gone over the line. */
function tooLarge({ width, height }, count, { max_pixels: one = Infinity, max_request_pixels: all = Infinity } = {}) {
  const millions = (pixels) => (pixels / 1e6).toFixed(1);
  if (width * height > one) return t('{size} pixels: this server makes at most {most} million at once.', { size: sizeWords(width, height), most: millions(one) });
  return width * height * count > all ? t('{count} pictures of {size} pixels: this server makes at most {most} million in one job.', { count, size: sizeWords(width, height), most: millions(all) }) : '';
}

/** The whole request of the task as it stands; a seed of its own unless one is locked. */
export function requestOf(state) {
  const task = taskOf(state);
  return { verb: task.verb, model: state.model, seed: newSeed(), ...optionsOf(state, task), ...task.request(state) };
}

/** What is known of a job of the task before it is sent. */
export function aboutOf(state) {
  const task = taskOf(state);
  return { task: task.id, title: task.label, count: optionOf(state, 'count', task), ...task.size(state), base: task.base?.(state) ?? null };
}

const modelNamed = (state, name) => state.capabilities.models.find((model) => model.name === name) ?? modelOf(state);

/**
 * Runs a request. about: {task, title, count, width, height, base}; cell: its place in a grid of options; aside: the picture that is worked on
 * stays on the stage; patient: a server that is full is no fault. Resolves to the finished job, or null.
 */
export async function runRequest(request, about) {
  if (isBusy(store.get().live)) {
    toast(t('A job is running. Cancel it first, or wait for it.'));
    return null;
  }
  const { aside = false, patient = false, ...known } = about;
  const number = ++numbers;
  const abort = new AbortController();
  current = { number, abort, patient, before: finishedOnStage() };
  const model = modelNamed(store.get(), request.model);
  const cells = [Math.ceil(about.height / model.factor), Math.ceil(about.width / model.factor)];
  const job = {
    id: '', request, phase: 'sending', position: 0, progress: null, grid: cells, factor: model.factor, origin: { x: 0, y: 0 }, frame: null, span: null, previews: [], seen: [], results: [],
    selected: 0, playStep: null, error: '', command: '', notes: [], seconds: 0, model: model.name, sent: Date.now(), ...known,
  };
  store.set({ job, live: job, ended: null, seedUsed: request.seed ?? null, shown: aside ? 'picture' : 'result', sheet: about.count > 1 && !aside, inspect: about.task === 'fill' ? store.get().inspect : null, form: {} });
  learnCodeColours(model);
  try {
    const answer = await api.submit({ previews: true, ...request });
    update(number, { id: answer.id, phase: answer.state ?? 'queued', position: answer.position ?? 0 });
    announce(t('{title}: sent', { title: about.title }));
    await followJob(number, answer.id, abort.signal);
  } catch (error) {
    if (error.name !== 'AbortError') update(number, failureOf(error));
  }
  return settle(number);
}

/** lost: the job came to nothing because the server went away, not by what was asked; full: it takes no more for the moment. */
const failureOf = (error) => ({
  phase: 'failed', lost: !error.status || error.status === 404, full: error.status === 429, retryAfter: error.retryAfter ?? 0,
  error: error.status === 404 ? t('The server no longer knows this job: it was started anew, or the job is too long ago.') : error.message,
});

/** What the stage goes back to where a job comes to nothing. */
function finishedOnStage() {
  const { job, shown, sheet } = store.get();
  return { job: job?.phase === 'done' ? job : null, shown: job?.phase === 'done' ? shown : 'picture', sheet: job?.phase === 'done' && sheet };
}

/** Goes on following a job that another page, or this one before it was loaded again, has sent. job: as runRequest makes it, with its id. */
export async function attach(job) {
  if (isBusy(store.get().live)) return null;
  const number = ++numbers;
  const abort = new AbortController();
  current = { number, abort, before: finishedOnStage() };
  const followed = { sent: Date.now(), ...job };
  store.set({ job: followed, live: followed, ended: null, shown: 'result', sheet: job.count > 1 });
  learnCodeColours({ ...modelOf(store.get()), name: job.model });
  try {
    const state = await api.job(job.id);
    if (['done', 'failed', 'cancelled'].includes(state.state)) onEvent(number, state.state, state);
    else await followJob(number, job.id, abort.signal);
  } catch (error) {
    if (error.name !== 'AbortError') update(number, failureOf(error));
  }
  return settle(number);
}

const onStage = ({ job, live }) => Boolean(live) && job?.request === live.request;

/** Another job may run by now: a late answer then changes nothing. The stage may show another job: what it shows stays. */
function update(number, patch) {
  const state = store.get();
  if (current?.number !== number || !state.live) return;
  store.set({ live: { ...state.live, ...patch }, ...(onStage(state) ? { job: { ...state.job, ...patch } } : {}) });
}

/** The job that runs comes back on the stage. */
export function showLive() {
  const state = store.get();
  if (state.live) store.set({ ...(onStage(state) ? {} : { job: state.live }), shown: 'result', sheet: state.live.count > 1 });
}

async function followJob(number, id, signal) {
  const retries = store.get().capabilities?.workspace ? kPatience : kRetries;
  for (let attempt = 0; ; attempt++) {
    let ended = false;
    try {
      await api.follow(id, (name, data) => { ended = onEvent(number, name, data) || ended; }, signal);
    } catch (error) {
      if (error.name === 'AbortError' || error.status) throw error;
      if (attempt >= retries) throw error;
    }
    if (ended) return;
    const state = await api.job(id).catch((error) => { // the stream ended without a word: look
      if (error.status || attempt >= retries) throw error;
      return { state: 'running' }; // not there at the moment: it may be starting again
    });
    if (['done', 'failed', 'cancelled'].includes(state.state)) {
      onEvent(number, state.state, state);
      return;
    }
    if (attempt >= retries) throw new Error(t('The connection to the server keeps breaking.'));
    await new Promise((resolve) => setTimeout(resolve, Math.min(kLongest, kPause * 2 ** attempt)));
  }
}

/** Returns whether it was the last. */
function onEvent(number, name, data) {
  const { live: job } = store.get();
  if (current?.number !== number || !job) return true;
  if (name === 'progress') update(number, { phase: 'running', progress: data });
  else if (name === 'cells') {
    if (data.grid && String(data.grid) !== String(job.grid)) api.job(job.id).then((answer) => update(number, placeOf(answer)), () => {});
    update(number, { phase: 'running', frame: withFrame(job.frame, data), grid: data.grid ?? job.grid });
  } else if (name === 'preview') showPreview(number, data);
  else if (name === 'guess') showGuess(number, data);
  else if (name === 'queued') update(number, { phase: 'queued', position: data.position ?? 0 });
  else if (['done', 'failed', 'cancelled'].includes(name)) {
    update(number, {
      last: data, phase: name === 'done' ? 'running' : name, error: errorOf(data), command: data.command ?? '', notes: data.notes ?? [], seconds: data.seconds ?? 0, finished: name,
      ...placeOf(data),
    });
    return true;
  }
  return false;
}

const errorOf = (data) => (typeof data.error === 'string' ? data.error : data.error?.message ?? '');

/** Where the grid lies in the result; a small edit of a large picture is made on a part of it. */
function placeOf(data) {
  const place = {};
  if (data.grid) place.grid = data.grid;
  if (data.factor) place.factor = data.factor;
  if (data.area) place.origin = { x: data.area[0] - (data.offset?.[0] ?? 0), y: data.area[1] - (data.offset?.[1] ?? 0) };
  return place;
}

async function showPreview(number, data) {
  const shown = store.get().live?.frame?.tokens;
  const images = await Promise.all(data.images.map((image) => canvasOf(image).catch(() => null)));
  const { live: job } = store.get();
  if (current?.number !== number || !job || job.results.length) return;
  const previews = [...job.previews];
  const seen = [...job.seen];
  images.forEach((image, k) => {
    previews[(data.first ?? 0) + k] = image;
    seen[(data.first ?? 0) + k] = shown?.[(data.first ?? 0) + k] ?? null;
  });
  update(number, { previews, seen });
}

/** The whole pictures as the model would finish them at once. */
async function showGuess(number, data) {
  const images = await Promise.all(data.images.map((image) => canvasOf(image).catch(() => null)));
  const { live: job } = store.get();
  if (current?.number !== number || !job || job.results.length) return;
  const guesses = [...(job.guesses ?? [])];
  images.forEach((image, k) => { guesses[(data.first ?? 0) + k] = image; });
  update(number, { guesses });
}

async function settle(number) {
  const { live: job } = store.get();
  if (current?.number !== number || !job) return null;
  if (job.finished === 'done') {
    try {
      const results = await Promise.all(job.last.results.map(async (result, k) => {
        const [blob, tokens] = await Promise.all([api.resultImage(job.id, k), api.resultTokens(job.id, k).catch(() => null)]);
        return { ...result, blob, url: URL.createObjectURL(blob), image: await canvasOf(blob), tokens: tokens ? flatTokens(tokens.tokens) : null, order: tokens?.order ? flatTokens(tokens.order) : null };
      }));
      if (wantsMatch(store.get().live)) await Promise.all(results.map(async (result) => { if (result.tokens && result.order) result.image = await matchedResult(store.get().live, result); }));
      const [first] = results;
      update(number, { phase: 'done', results, span: spanOf(results), frame: null, previews: [], guesses: [], count: results.length, width: first.image.width, height: first.image.height, playStep: null });
      announce(t('{title}: done, {count} pictures', { title: job.title, count: results.length }));
    } catch (error) {
      update(number, { phase: 'failed', error: error.message });
    }
  }
  const state = store.get();
  const { live: now } = state;
  const { before, patient } = current;
  current = null;
  if (now.phase === 'done') {
    store.set({ live: null, ended: { phase: 'done', error: '', request: now.request, title: now.title, seconds: (Date.now() - now.sent) / 1000 } });
    const notes = now.notes.filter((note) => !/^(mask|keep_mask)\b/.test(note)); // how a mask was read is no news of one painted here
    if (notes.length) toast(notes.join(' '));
    for (const callback of whenDoneCalled) callback(now);
    return now;
  }
  // It came to nothing: what was there before is there again.
  const { lost = false, full = false, retryAfter = 0 } = now;
  const ended = { phase: now.phase, error: now.error, request: now.request, lost, full, retryAfter, title: now.title, cell: now.cell ?? null, seconds: (Date.now() - now.sent) / 1000 };
  store.set({ live: null, ended, ...(onStage(state) ? before : {}) });
  if (full && patient) return null; // the queue asks again
  if (now.phase === 'failed') {
    const { task, title, count, width, height, base } = now;
    const again = { label: t('Run it again'), run: () => runRequest(now.request, { task, title, count, width, height, base }) }; // the same seed makes the same
    complain(new Error(now.error || t('The job failed and the server did not say why.')), now.lost ? again : null);
  } else toast(t('Cancelled.'));
  return null;
}

const whenDoneCalled = [];
/** Called with each job that was done on this page. */
export const whenDone = (callback) => whenDoneCalled.push(callback);

export async function cancelJob() {
  const { live: job } = store.get();
  if (!isBusy(job)) return;
  const mine = current;
  try {
    if (job.id) await api.cancel(job.id);
    else mine?.abort.abort();
    update(mine?.number, { phase: 'cancelled' });
    mine?.abort.abort();
  } catch (error) {
    complain(error);
  }
}

export function select(k) {
  const { job } = store.get();
  if (!job || k < 0 || k >= job.count) return;
  store.set({ job: { ...job, selected: k }, shown: 'result', sheet: false });
}

/**
 * The jobs that the server keeps, where it was started with a workspace (store: shelf): found by words and star, page by page; named,
 * removed and brought back; what one was, as an entry of the history. Another tab or device sees the same.
 */
import * as api from './api.js';
import { store } from './store.js';
import { announce, complain, toast } from './announce.js';
import { flatTokens } from './cells.js';
import { modelOf } from './documents.js';
import { download } from './export.js';
import { spanOf } from './job_frames.js';
import { attach, isBusy } from './job_runner.js';
import { canvasOf } from './pictures.js';
import { taskById } from './tasks/index.js';
import { t } from './words.js';

const kPage = 20; // jobs a page
const kPoll = 2000; // ms between looks while a job is under way
const kPause = 250; // ms after the last letter of a search
const kThumbnails = 120; // pictures held for the list
const kEntries = 8; // jobs held whole

export const hasWorkspace = ({ capabilities }) => capabilities?.workspace === true;
export const isUnderWay = ({ state }) => state === 'queued' || state === 'running';

const set = (patch) => store.set({ shelf: { ...store.get().shelf, ...patch } });

/** The task that makes such a request; 'fill' for an edit of single codes, null where the page has none. */
export function taskOfRequest(request, model) {
  const own = (side) => !request[side] || request[side] === model?.[side];
  switch (request.verb) {
    case 'generate': return own('width') && own('height') && !request.random_windows ? 'generate' : 'wide';
    case 'inpaint': return request.keep_mask || request.keep_boxes ? 'keep' : 'change';
    case 'outpaint':
    case 'stitch': return 'extend';
    case 'variations': return 'vary';
    case 'fill': return 'fill';
    default: return null;
  }
}

const modelNamed = (name) => store.get().capabilities?.models.find((model) => model.name === name) ?? modelOf(store.get());

export function titleOf(job) {
  const task = taskOfRequest({ verb: job.verb, ...job.request }, modelNamed(job.model));
  if (task === 'fill') return t('Cell');
  return task ? taskById(task).label : job.verb;
}

let asking = null; // AbortController of the question under way

/** Asks for the list anew. more: the next page behind it. quietly: what is there stays until the answer has come. */
export async function loadShelf({ more = false, quietly = false } = {}) {
  const { shelf } = store.get();
  if (!hasWorkspace(store.get()) || (more && !shelf.next)) return;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  if (!quietly) set({ phase: 'loading', error: '' });
  try {
    // A look anew is as long as the list is.
    const limit = quietly ? Math.min(200, Math.max(kPage, shelf.jobs.length)) : kPage;
    const answer = await api.jobs({ q: shelf.words, starred: shelf.starred || null, before: more ? shelf.next : null, limit }, signal);
    const before = more ? store.get().shelf.jobs : [];
    set({ jobs: [...before, ...answer.jobs], next: answer.next, total: answer.total, phase: 'ready', error: '' });
  } catch (error) {
    if (error.name !== 'AbortError') set({ phase: 'failed', error: error.message });
  }
}

let typing = 0;
export function searchShelf(words) {
  set({ words });
  clearTimeout(typing);
  typing = setTimeout(loadShelf, kPause);
}

export function showStarred(starred) {
  set({ starred });
  return loadShelf();
}

async function relabel(job, patch) {
  const answer = await api.label(job.id, patch);
  const { shelf } = store.get();
  set({ jobs: shelf.jobs.map((other) => (other.id === job.id ? answer : other)) });
  return answer;
}

export const star = (job) => relabel(job, { starred: !job.starred }).then(({ starred }) => announce(starred ? t('Starred') : t('Star taken away')), complain);
export const rename = (job, name) => relabel(job, { name: name.trim() || null }).catch(complain);

/** Gone from the list at once, from the disk some minutes later. */
export async function removeJob(job) {
  try {
    await api.label(job.id, { deleted: true });
  } catch (error) {
    complain(error);
    return;
  }
  const { shelf } = store.get();
  set({ jobs: shelf.jobs.filter(({ id }) => id !== job.id), total: shelf.total - 1 });
  const undo = () => api.label(job.id, { deleted: false }).then(() => loadShelf({ quietly: true }), complain);
  toast(t('{name} was removed.', { name: job.name ?? titleOf(job) }), { action: { label: t('Undo'), run: undo } });
}

/** A map that forgets what was used least recently. */
function holding(most, drop = () => {}) {
  const held = new Map();
  return (key, make) => {
    const value = held.get(key) ?? make();
    held.delete(key);
    held.set(key, value);
    if (held.size > most) {
      const [oldest, gone] = held.entries().next().value;
      held.delete(oldest);
      drop(gone);
    }
    return value;
  };
}

const held = holding(kThumbnails, (gone) => gone.then(({ url }) => URL.revokeObjectURL(url), () => {}));
/** Promise of {blob, url} of result k: the key goes along, which a plain address would not have. */
export const thumbnail = (id, k) => held(`${id}/${k}`, () => api.resultImage(id, k).then((blob) => ({ blob, url: URL.createObjectURL(blob) })));

const whole = holding(kEntries, (gone) => gone.then(({ pictures }) => pictures.forEach(({ url }) => URL.revokeObjectURL(url)), () => {}));

/** Promise of the job as an entry of the history: request with pictures, results with their codes. */
export const entryOf = (job) => whole(job.id, async () => {
  const [request, ...pictures] = await Promise.all([api.requestOfJob(job.id), ...job.results.map(async (result, k) => {
    const [blob, codes] = await Promise.all([api.resultImage(job.id, k), api.resultTokens(job.id, k)]);
    return { blob, url: URL.createObjectURL(blob), tokens: flatTokens(codes.tokens), order: flatTokens(codes.order), seed: result.seed };
  })]);
  const [first] = job.results;
  return {
    key: `server-${job.id}`, time: job.created * 1000, id: job.id, task: taskOfRequest(request, modelNamed(job.model)) ?? 'fill', title: job.name ?? titleOf(job), request, command: job.command,
    effective: job.effective, seconds: job.seconds, width: first.width, height: first.height, grid: job.grid, factor: job.factor,
    origin: { x: job.area[0] - job.offset[0], y: job.area[1] - job.offset[1] }, span: spanOf(pictures), model: job.model, base: null, pictures,
  };
});

/** A job of another tab or device, or of before the server was started anew, comes on the stage and is followed. */
export async function followJob(job) {
  if (isBusy(store.get().live)) {
    toast(t('A job is on the stage. Cancel it first, or wait for it.'));
    return;
  }
  try {
    const request = await api.requestOfJob(job.id);
    const model = modelNamed(job.model);
    const picture = request.image ?? request.onto;
    const image = typeof picture === 'string' ? await canvasOf(picture) : null;
    const [height, width] = job.area ? [job.area[3], job.area[2]] : [image?.height ?? request.height ?? model.height, image?.width ?? request.width ?? model.width];
    attach({
      id: job.id, request, task: taskOfRequest(request, model) ?? 'fill', title: job.name ?? titleOf(job), count: job.count, width, height, model: job.model, base: image && { image, x: request.left ?? 0, y: request.top ?? 0 },
      grid: job.grid ?? [Math.ceil(height / model.factor), Math.ceil(width / model.factor)], factor: job.factor ?? model.factor, phase: 'running', position: 0, progress: null, origin: { x: 0, y: 0 },
      frame: null, span: null, previews: [], seen: [], results: [], selected: 0, playStep: null, error: '', command: '', notes: [], seconds: 0,
    });
  } catch (error) {
    complain(error);
  }
}

export const cancelShelved = (job) => api.cancel(job.id).then(() => loadShelf({ quietly: true }), complain);

/** The jobs that the list shows as one file. */
export async function saveProject() {
  const { words, starred } = store.get().shelf;
  try {
    const blob = await api.project({ q: words, starred: starred || null });
    const url = URL.createObjectURL(blob);
    download({ url, name: 'tessera-project.zip' });
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain(error);
  }
}

export async function openProject(file) {
  try {
    const { taken, known } = await api.takeProject(file);
    toast([t('{count} jobs were taken in.', { count: taken }), known ? t('{count} were here already.', { count: known }) : ''].filter(Boolean).join(' '));
    await loadShelf({ quietly: true });
  } catch (error) {
    complain(error);
  }
}

/** Tells of a job that still runs, to a page that shows none. */
async function offerRunning() {
  if (store.get().job) return;
  const running = (await api.jobs({ state: 'running', limit: 1 })).jobs[0];
  if (running && !store.get().job) toast(t('{title} is under way on the server.', { title: titleOf(running) }), { action: { label: t('Follow it'), run: () => followJob(running) }, seconds: 20 });
}

/** The list is as the server's from now on, while somebody looks. */
export function startWorkspace() {
  if (!hasWorkspace(store.get())) return;
  let timer = 0;
  const looked = () => store.get().panel === 'history' && !document.hidden;
  const look = () => {
    clearTimeout(timer);
    timer = 0;
    if (looked()) loadShelf({ quietly: true });
  };
  store.on(['panel'], ({ panel, shelf }) => { if (panel === 'history') loadShelf({ quietly: shelf.phase !== 'new' }); });
  store.on(['ended'], () => look());
  let sent = '';
  store.on(['live'], ({ live }) => {
    const now = isBusy(live) ? live.id : '';
    if (now && now !== sent) look();
    sent = now;
  });
  store.on(['shelf', 'panel'], ({ shelf }) => { if (looked() && shelf.jobs.some(isUnderWay)) timer ||= setTimeout(look, kPoll); });
  document.addEventListener('visibilitychange', look);
  if (store.get().panel === 'history') loadShelf();
  offerRunning().catch(() => {}); // nothing is lost: the list shows it
}

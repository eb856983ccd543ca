/**
 * The work under way, kept in the browser's own database: after a reload the picture, what is painted, the task, its options,
 * the model and the job on the stage are there again, and a job that still runs is followed on. A tab has a record of its own;
 * a new tab begins from the newest.
 */
import { store } from './store.js';
import { documentOf, loadTokens, modelOf } from './documents.js';
import { emptyEdit } from './edits.js';
import { refreshForm } from './form.js';
import { show } from './history.js';
import { attach, isBusy } from './job_runner.js';
import { canvasOf, pngOf } from './pictures.js';
import { readBase, resumeQueue, writtenBase } from './queue_kept.js';
import { readArea, writtenArea } from './work_area.js';
import { loadSession, saveSession } from './history_store.js';
import { presentTask, tasks } from './tasks/index.js';
import { formerCanvas, formerOptions } from './session_former.js';

const kPause = 400; // ms after the last change
const kPlain = ['model', 'task', 'panel', 'tool', 'brush', 'code', 'options', 'taskOptions', 'seedUsed', 'shown'];
const kWatched = [...kPlain, 'edit', 'job', 'live', 'sheet'];

const writtenDoc = async (doc) => doc && { image: await pngOf(doc.image), name: doc.name, tokens: doc.tokens, decoded: doc.decoded, model: doc.model };

/** Without what only the page can hold: canvases become PNGs, a finished job its place in the history. */
async function recordOf({ edit, job, live, sheet, ...state }) {
  const record = { time: Date.now(), sheet, ...Object.fromEntries(kPlain.map((name) => [name, state[name]])) };
  record.edit = {
    doc: await writtenDoc(edit.doc), original: edit.original === edit.doc ? null : await writtenDoc(edit.original),
    mask: edit.mask, pins: [...edit.pins], canvas: edit.canvas, area: await writtenArea(edit.area),
    pieces: edit.pieces && await Promise.all(edit.pieces.map(async ({ image, ...piece }) => (image ? { ...piece, image: await pngOf(image) } : piece))),
  };
  if (isBusy(live) && live.id) {
    const { id, request, task, title, count, width, height, grid, factor, model, base, sent, cell = null } = live;
    record.job = { id, request, task, title, count, width, height, grid, factor, model, sent, cell, base: await writtenBase(base) };
  } else if (job?.phase === 'done') record.job = { shown: job.key ?? job.id, selected: job.selected };
  return record;
}

async function docOf(saved) {
  if (!saved) return null;
  const doc = documentOf(await canvasOf(saved.image), saved.name, saved.tokens);
  return { ...doc, decoded: doc.decoded && saved.decoded };
}

async function editOf(saved) {
  const doc = await docOf(saved.doc);
  const fits = doc && saved.mask?.length === doc.h * doc.w;
  return {
    ...emptyEdit, doc, original: saved.original ? await docOf(saved.original) : doc, area: await readArea(saved.area),
    mask: fits ? saved.mask : doc && new Uint8Array(doc.h * doc.w), pins: new Map(fits ? saved.pins : []), canvas: saved.canvas,
    pieces: saved.pieces && await Promise.all(saved.pieces.map(async ({ image, ...piece }) => (image ? { ...piece, image: await canvasOf(image) } : piece))),
  };
}

async function jobBack(saved, sheet) {
  if (saved.id) {
    const base = await readBase(saved.base);
    attach({
      ...saved, task: presentTask(saved.task), base, phase: 'running', position: 0, progress: null, origin: { x: 0, y: 0 }, frame: null, span: null, previews: [], seen: [], results: [],
      selected: 0, playStep: null, error: '', command: '', notes: [], seconds: 0,
    });
    return;
  }
  const entry = store.get().history.find(({ key, id }) => key === saved.shown || id === saved.shown);
  if (!entry) return;
  const { shown } = store.get();
  await show(entry, Math.min(saved.selected, entry.pictures.length - 1));
  store.set({ shown, sheet: sheet && shown === 'result' });
}

/** Puts the page as it was left. Returns whether there was anything. Needs the capabilities and the history. */
export async function resume() {
  const record = await loadSession();
  if (!record || !tasks.some(({ id }) => id === presentTask(record.task))) return false;
  const { capabilities } = store.get();
  const plain = Object.fromEntries(kPlain.filter((name) => record[name] !== undefined).map((name) => [name, record[name]]));
  if (!capabilities.models.some(({ name }) => name === plain.model)) plain.model = store.get().model;
  store.set({ ...plain, task: presentTask(plain.task), taskOptions: formerOptions(plain.taskOptions) });
  let edit = await editOf(record.edit);
  if (record.edit.borders) edit = { ...edit, ...formerCanvas(record, edit, modelOf(store.get())) };
  store.set({ edit });
  if (edit.doc) loadTokens(edit.doc);
  await resumeQueue().catch(() => {}); // what was kept by another version
  if (record.job) await jobBack(record.job, record.sheet);
  else store.set({ shown: 'picture' });
  refreshForm();
  return true;
}

let write = async () => {};
/** Keeps what has changed at once. */
export const saveNow = () => write();

/** Keeps the record from now on. */
export function startSession() {
  let timer = 0;
  let writing = null;
  let job = '';
  write = async () => {
    clearTimeout(timer);
    timer = 0;
    await writing;
    writing = recordOf(store.get()).then(saveSession).catch(() => {}); // a private window may refuse
    await writing;
  };
  store.on(kWatched, (state) => {
    const now = isBusy(state.live) ? state.live.id : '';
    const urgent = now !== job && now; // a job that has just been sent must be found again
    job = now;
    if (urgent) write();
    else timer ||= setTimeout(write, kPause);
  });
  window.addEventListener('pagehide', () => { if (timer) write(); });
  document.addEventListener('visibilitychange', () => { if (document.hidden && timer) write(); });
}

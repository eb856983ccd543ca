/** What was made: each finished job with its pictures, its seed and its options, and how to have it again. */
import { store } from './store.js';
import { clearHistory, kMost, loadHistory, removeEntry, saveEntry } from './history_store.js';
import { canvasOf } from './pictures.js';
import { announce, complain, toast } from './announce.js';
import { ask } from './ask.js';
import { copyText } from './export.js';
import { linkOf } from './job_link.js';
import { newSeed } from './form.js';
import { scriptOf } from './command_script.js';
import { enqueue, itemOf } from './queue.js';
import { factWords } from './option_words.js';
import { restore } from './restore.js';
import { presentTask } from './tasks/index.js';
import { t } from './words.js';

/** A finished job as the history keeps it: pictures with the addresses that they have on this page. */
export function entryOfJob(job) {
  return {
    key: `${job.id}-${job.task}-${job.request.seed ?? 0}`, time: Date.now(), id: job.id, task: job.task, title: job.title, request: job.request, command: job.command, effective: job.last?.effective ?? null, seconds: job.seconds,
    width: job.width, height: job.height, grid: job.grid, factor: job.factor, origin: job.origin, span: job.span, model: job.model,
    base: job.base, cell: job.cell ?? null, pictures: job.results.map(({ blob, url, tokens, order, seed }) => ({ blob, url, tokens, order, seed })),
  };
}

/** It becomes the newest entry; one that two tabs have followed is one entry. */
export function remember(entry) {
  saveEntry(entry);
  store.set({ history: [entry, ...store.get().history.filter(({ key }) => key !== entry.key)].slice(0, kMost) });
}

export async function startHistory() {
  const entries = (await loadHistory()).map((entry) => ({ ...entry, task: presentTask(entry.task) }));
  for (const entry of entries) for (const picture of entry.pictures) picture.url = URL.createObjectURL(picture.blob);
  store.set({ history: [...store.get().history, ...entries] });
}

/** Brings the entry's results back to the stage, picture k chosen. */
export async function show(entry, k) {
  try {
    const results = await Promise.all(entry.pictures.map(async (picture) => ({ ...picture, image: await canvasOf(picture.blob) })));
    store.set({
      job: {
        ...entry, count: results.length, phase: 'done', position: 0, progress: null, frame: null, previews: [], seen: [], results, selected: k, playStep: null,
        error: '', notes: [], base: entry.base ?? null,
      },
      shown: 'result', sheet: false, inspect: null,
    });
    announce(t('{title}, picture {number}, is on the stage', { title: entry.title, number: k + 1 }));
  } catch (error) {
    complain(error);
  }
}

export function again(entry) {
  const request = { ...entry.request, seed: newSeed() };
  const about = { task: entry.task, title: entry.title, count: entry.pictures.length, width: entry.width, height: entry.height, base: entry.base ?? null };
  enqueue(itemOf(entry.title, factWords('seed', request.seed), [{ request, about }]));
}

export const reopen = (entry) => restore(entry).then(() => announce(t('{title} is set up again', { title: entry.title })), complain);

export async function copyCommand(entry) {
  try {
    await copyText(await scriptOf(entry), t('Command copied'));
  } catch (error) {
    complain(error);
  }
}

export async function copyLink(entry) {
  try {
    await copyText(await linkOf(entry), t('Link copied'));
  } catch (error) {
    complain(error);
  }
}

/** Gone from the list at once and from the disk when the way back has closed. */
export function forget(entry) {
  const { history } = store.get();
  removeEntry(entry.key);
  store.set({ history: history.filter((other) => other.key !== entry.key) });
  toast(t('{name} was removed.', { name: entry.title }), { action: { label: t('Undo'), run: () => bringBack([entry]) } });
}

function bringBack(entries) {
  const keys = new Set(entries.map(({ key }) => key));
  entries.forEach(saveEntry);
  store.set({ history: [...store.get().history.filter(({ key }) => !keys.has(key)), ...entries].sort((a, b) => b.time - a.time) });
}

/** Asks first, and can be taken back. */
export async function forgetAll() {
  const entries = store.get().history;
  const sure = await ask({ title: t('Clear the history?'), words: t('{count} jobs and their pictures go from this browser.', { count: entries.length }), yes: t('Clear it'), danger: true });
  if (!sure) return;
  clearHistory();
  store.set({ history: [] });
  toast(t('The history is cleared.'), { action: { label: t('Undo'), run: () => bringBack(entries) } });
}

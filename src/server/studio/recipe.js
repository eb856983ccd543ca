/** A picture that Tessera made says how: dropped in, it can be set up again as it was made. */
import * as api from './api.js';
import { store } from './store.js';
import { announce, complain, toast } from './announce.js';
import { modelOf } from './documents.js';
import { textsOf } from './png_text.js';
import { restore } from './restore.js';
import { hasWorkspace, taskOfRequest, titleOf } from './workspace.js';
import { t } from './words.js';

const kPictures = ['image', 'mask', 'keep_mask', 'onto', 'pieces', 'boxes', 'keep_boxes']; // the file does not hold them
const kMade = ['command', 'job', 'image_number'];

/** What the picture was asked for, or null where it does not say. */
async function recipeOf(file) {
  try {
    const record = JSON.parse((await textsOf(file)).tessera ?? 'null');
    return typeof record?.verb === 'string' ? record : null;
  } catch {
    return null;
  }
}

/** The request as it was sent where the server keeps it, else what the picture says of it. */
async function requestOf(record) {
  const kept = record.job && hasWorkspace(store.get()) ? await api.requestOfJob(record.job).catch(() => null) : null;
  if (kept) return { request: kept, whole: true };
  const request = Object.fromEntries(Object.entries(record).filter(([name]) => !kPictures.includes(name) && !kMade.includes(name)));
  return { request, whole: record.verb === 'generate' };
}

async function setUp(record) {
  const { request, whole } = await requestOf(record);
  const task = taskOfRequest({ ...record, ...request }, modelOf(store.get()));
  if (!task || task === 'fill') throw new Error(t('This picture was made in a way that the page has no task for.'));
  const { edit } = store.get();
  await restore({ task, request });
  if (!whole) store.set({ edit: { ...edit } }); // the picture it was made from is not in it: it stays the one that was dropped
  announce(t('Set up as the picture was made'));
  if (!whole) toast(t('Options, words and seed are as they were; the picture that it was made from is not in the file.'));
}

/** After a picture has come in. */
export async function offerRecipe(file) {
  const record = await recipeOf(file);
  if (!record) return;
  const title = titleOf({ verb: record.verb, request: record, model: record.model });
  toast(t('This picture was made here: {title}, seed {seed}.', { title, seed: String(record.seed ?? 0) }), { action: { label: t('Set up its recipe'), run: () => setUp(record).catch(complain) }, seconds: 15 });
}

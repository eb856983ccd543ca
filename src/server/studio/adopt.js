/** A result becomes the picture that is worked on. */
import { store } from './store.js';
import { usePicture } from './edits.js';
import { documentOf, loadTokens } from './documents.js';
import { announce } from './announce.js';

/** Makes result k of the job on the stage the picture. Returns whether it could. */
export function adopt(k, { quiet = false } = {}) {
  const { job, edit, model } = store.get();
  const result = job?.results[k];
  if (!result?.image) return false;
  const doc = documentOf(result.image, `${job.title}, ${k + 1}`, job.model === model ? result.tokens : null);
  const sameSize = job.base && job.base.image.width === doc.width && job.base.image.height === doc.height;
  usePicture(doc, { original: sameSize ? (edit.original ?? doc) : doc });
  if (!quiet) announce(`Result ${k + 1} is the picture now`);
  loadTokens(doc);
  return true;
}

/** The result on the stage, if it is one. */
export function adoptShown() {
  const { shown, job } = store.get();
  return shown === 'result' && job?.phase === 'done' ? adopt(job.selected) : false;
}

/** A result becomes the picture that is worked on. */
import { store } from './store.js';
import { usePicture } from './edits.js';
import { documentOf, loadTokens } from './documents.js';
import { announce } from './announce.js';
import { filledCells } from './job_frames.js';
import { withBox, withTouched } from './work_area.js';
import { t } from './words.js';

/** Where the job was made in a box of a photograph: the photograph with the cells that it filled. */
function areaAfter(job, k, doc) {
  const from = job.base?.area;
  if (!from) return null;
  const { area, doc: present } = store.get().edit;
  const same = area?.photo === from.photo && area.box !== from.box;
  const patches = same ? withBox(area, present, from.box).patches : from.patches;
  return withTouched({ ...from, patches }, filledCells(job, k), doc.h * doc.w);
}

/** Makes result k of the job on the stage the picture. Returns whether it could. */
export function adopt(k, { quiet = false } = {}) {
  const { job, edit, model } = store.get();
  const result = job?.results[k];
  if (!result?.image) return false;
  const doc = documentOf(result.image, `${job.title}, ${k + 1}`, job.model === model ? result.tokens : null);
  const sameSize = [job.base?.image, edit.original].every((other) => other?.width === doc.width && other.height === doc.height);
  const sameCells = edit.doc && edit.doc.h === doc.h && edit.doc.w === doc.w && edit.doc.factor === doc.factor;
  usePicture(doc, {
    original: sameSize ? edit.original : doc,
    from: job.task === 'extend' ? 'canvas' : sameCells && job.base?.image === edit.doc.image ? 'picture' : '',
    area: areaAfter(job, k, doc),
    mask: sameCells ? edit.mask : null, // it stays painted: the next run changes the same part
    pins: sameCells && doc.tokens ? new Map([...edit.pins].filter(([cell, token]) => doc.tokens[cell] === token)) : undefined,
  });
  if (!quiet) announce(t('Result {number} is the picture now', { number: k + 1 }));
  loadTokens(doc);
  return true;
}

/** The result on the stage, if it is one. */
export function adoptShown() {
  const { shown, job } = store.get();
  return shown === 'result' && job?.phase === 'done' ? adopt(job.selected) : false;
}

/** The steps of a job as they were seen: which cells were MASK after each, and which had just been filled. */
import { flatTokens } from './cells.js';

/** frames: [{step, tokens: [N] Int32Array[h*w], -1 where MASK}], ascending; a later event of a step replaces it. */
export function withFrame(frames, event) {
  const frame = { step: event.step, tokens: event.tokens.map(flatTokens) };
  const kept = frames.filter((other) => other.step < frame.step);
  kept.push(frame);
  return kept;
}

/**
 * Picture k after `step` (null: the newest): {step, tokens, open, fresh}; null where nothing was seen yet.
 * fresh: cells whose token differs from the frame before.
 */
export function frameAt(job, k, step = null) {
  const { frames } = job;
  if (!frames.length) return null;
  let at = frames.length - 1;
  if (step !== null) while (at > 0 && frames[at].step > step) at--;
  const tokens = frames[at].tokens[k];
  if (!tokens) return null;
  const before = at > 0 ? frames[at - 1].tokens[k] : null;
  const open = new Uint8Array(tokens.length);
  const fresh = [];
  tokens.forEach((token, cell) => {
    if (token < 0) open[cell] = 1;
    else if (before && before[cell] !== token) fresh.push(cell);
  });
  return { step: frames[at].step, tokens, open, fresh };
}

/** The best picture known of result k: the result, its preview, or null. */
export const pictureOf = (job, k) => job.results[k]?.image ?? job.previews[k] ?? null;

/** Last step of the job that is known. */
export const lastStep = (job) => Math.max(job.progress?.steps ?? 0, job.frames.at(-1)?.step ?? 0);

/** Steps at which something was seen to change, ascending. */
export const seenSteps = (job) => job.frames.map((frame) => frame.step);

/**
 * Which cells of a job's picture are still MASK, and which have just been filled: while it runs from the events, afterwards
 * from the step at which each cell got its code (order [h*w]; 0: it was given).
 */
import { flatTokens } from './cells.js';
import { partialPicture } from './partial_pictures.js';

const kMostFresh = 0.2; // of the cells: where a sampler changes more in a step, borders would hide the picture
const kTrail = 40; // a play-back shows the cells of the last 1/40 of its steps as new

/**
 * The newest event as {step, tokens: [N] Int32Array[h*w] with -1 where MASK, before: of the event before, first: of the first}.
 */
export function withFrame(frame, event) {
  const tokens = event.tokens.map(flatTokens);
  return { step: event.step, tokens, before: frame?.tokens ?? null, first: frame?.first ?? tokens };
}

/** Cells that are filled but in no picture yet: [[cell, token]]. shown: tokens [h*w] of the grid that the picture is of. */
function unseenCells(tokens, shown) {
  const cells = [];
  tokens.forEach((token, cell) => {
    if (token >= 0 && !(shown && shown[cell] >= 0)) cells.push([cell, token]);
  });
  return cells;
}

function liveFrame(job, k) {
  const tokens = job.frame?.tokens[k];
  if (!tokens) return null;
  const before = job.frame.before?.[k] ?? null;
  const open = new Uint8Array(tokens.length);
  const fresh = [];
  tokens.forEach((token, cell) => {
    if (token < 0) open[cell] = 1;
    else if (before && before[cell] < 0) fresh.push(cell);
  });
  if (fresh.length > kMostFresh * tokens.length) fresh.length = 0;
  const shown = job.seen[k] ?? (job.base ? job.frame.first[k] : null);
  return { step: job.frame.step, open, fresh, unseen: unseenCells(tokens, shown) };
}

function playedFrame(job, order, step) {
  const trail = Math.max(1, Math.round((job.span.last - job.span.first) / kTrail));
  const open = new Uint8Array(order.length);
  const fresh = [];
  order.forEach((filled, cell) => {
    if (filled > step) open[cell] = 1;
    else if (filled > 0 && filled > step - trail) fresh.push(cell);
  });
  return { step, open, fresh };
}

/** Cells that were filled after `from`, up to `to`: [[cell, token]]. */
function filledBetween({ tokens, order }, from, to) {
  const cells = [];
  order.forEach((filled, cell) => filled > from && filled <= to && cells.push([cell, tokens[cell]]));
  return cells;
}

/** Picture k after `step` (null: as it is now): {step, open, fresh, unseen, image: null where the finished one has to do}; null where there is nothing to tell. */
export function frameAt(job, k, step = null) {
  const result = job.results[k];
  if (job.phase !== 'done') return liveFrame(job, k);
  if (step === null || !result?.order || !job.span) return null;
  const seen = partialPicture(job, k, step);
  return { ...playedFrame(job, result.order, step), image: seen?.image ?? null, unseen: seen ? filledBetween(result, seen.step, step) : null };
}

/** The steps that a play-back walks through: {first, last}, first showing the grid as it was given; null without an order. */
export function spanOf(results) {
  const steps = results.flatMap(({ order }) => (order ? [...order].filter((step) => step > 0) : []));
  if (!steps.length) return null;
  return { first: steps.reduce((a, b) => Math.min(a, b)) - 1, last: steps.reduce((a, b) => Math.max(a, b)) };
}

/** Cells of result k that the model filled, of the grid that covers the whole result. */
export function filledCells(job, k) {
  const { order } = job.results[k];
  const [, w] = job.grid;
  const all = Math.ceil(job.width / job.factor);
  const cells = [];
  order?.forEach((step, cell) => {
    if (step <= 0) return;
    const [y, x] = [Math.floor(cell / w) + Math.round(job.origin.y / job.factor), (cell % w) + Math.round(job.origin.x / job.factor)];
    cells.push(y * all + x);
  });
  return cells;
}

/** The best picture known of result k: the result, its preview, or null. */
export const pictureOf = (job, k) => job.results[k]?.image ?? job.previews[k] ?? null;

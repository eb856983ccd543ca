/** Half-filled grids decoded, for a play-back: what the codes that were there by then look like. */
import * as api from './api.js';
import { rowsOf } from './cells.js';
import { blankCanvas, canvasOf } from './pictures.js';
import { store } from './store.js';

const kMostCells = 4096; // larger canvases are played back on the finished picture alone
const kept = new WeakMap(); // result -> Map of step -> canvas; null where the server could not decode it
let wanted = null; // what to ask for next: the newest wish wins
let asking = false;

/** The codes after `step` with -1 in cells that were filled later. */
const tokensAt = ({ tokens, order }, step) => tokens.map((token, cell) => (order[cell] > step ? -1 : token));

/** The decode laid over the finished picture, where cells had been filled by then; given cells stay as they are. */
function laidOut(job, result, decoded, step) {
  const out = blankCanvas(job.width, job.height);
  const context = out.getContext('2d');
  const [, w] = job.grid;
  const f = job.factor;
  context.drawImage(result.image, 0, 0);
  context.beginPath();
  result.order.forEach((filled, cell) => {
    if (filled > 0 && filled <= step) context.rect(job.origin.x + (cell % w) * f, job.origin.y + Math.floor(cell / w) * f, f, f);
  });
  context.clip();
  context.drawImage(decoded, job.origin.x, job.origin.y);
  return out;
}

async function askNext() {
  if (asking || !wanted) return;
  const { job, result, step } = wanted;
  wanted = null;
  asking = true;
  try {
    const [h, w] = job.grid;
    const answer = await api.decode(job.model, rowsOf(tokensAt(result, step), h, w));
    kept.get(result)?.set(step, laidOut(job, result, await canvasOf(answer.image), step));
  } catch {
    kept.set(result, null); // the play-back goes on without
  }
  asking = false;
  const { job: now } = store.get();
  if (now?.results.includes(result)) store.set({ job: { ...now } });
  askNext();
}

/** Result k of a finished job at `step` or the nearest step before it that is known: {step, image}, or null; asks for the step itself. */
export function partialPicture(job, k, step) {
  const result = job.results[k];
  const [h, w] = job.grid;
  if (result.tokens?.length !== h * w || result.order?.length !== h * w || h * w > kMostCells) return null;
  if (!kept.has(result)) kept.set(result, new Map());
  const pictures = kept.get(result);
  if (!pictures) return null;
  if (!pictures.has(step)) {
    wanted = { job, result, step };
    askNext();
  }
  let nearest = null;
  for (const known of pictures.keys()) if (known <= step && (nearest === null || known > nearest)) nearest = known;
  return nearest === null ? null : { step: nearest, image: pictures.get(nearest) };
}

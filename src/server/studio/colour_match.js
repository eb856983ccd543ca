/**
 * Colour match: what a job made in a box of a photograph takes on the colours of what lies around it. A codec shifts colours a little; how much
 * is seen in the ring, the cells around those that were filled, which are known both ways: as the photograph has them and as the decode does.
 * For each channel of the sRGB values, over the pixels of the ring:
 *   gain = s(photograph) / s(decode), at least 1/2 and at most 2, and 1 where s(decode) < kFlat     colour' = (colour - m(decode)) gain + m(photograph)
 * with m the mean and s the standard deviation.
 */
import * as api from './api.js';
import { rowsOf } from './cells.js';
import { laidOver } from './composite.js';
import { blankCanvas, canvasOf } from './pictures.js';

const kRing = 2; // cells around a filled one, along either axis
const kFlat = 2; // of 255: a ring without contrast tells no gain
const kMostGain = 2;

/** Cells of the grid within kRing of one of these, without them. */
export function ringOf(cells, { h, w }) {
  const filled = new Set(cells);
  const ring = new Set();
  for (const cell of filled) {
    const [cy, cx] = [Math.floor(cell / w), cell % w];
    for (let y = Math.max(0, cy - kRing); y <= Math.min(h - 1, cy + kRing); y++)
      for (let x = Math.max(0, cx - kRing); x <= Math.min(w - 1, cx + kRing); x++) if (!filled.has(y * w + x)) ring.add(y * w + x);
  }
  return [...ring];
}

/** [{mean, deviation}] of the three channels over the pixels of the cells. */
function momentsOf({ data, width, height }, cells, { w, factor }) {
  const sums = [0, 0, 0];
  const squares = [0, 0, 0];
  let count = 0;
  for (const cell of cells) {
    const [top, left] = [Math.floor(cell / w) * factor, (cell % w) * factor];
    for (let y = top; y < Math.min(height, top + factor); y++)
      for (let x = left; x < Math.min(width, left + factor); x++, count++)
        for (let c = 0; c < 3; c++) {
          const value = data[(y * width + x) * 4 + c];
          sums[c] += value;
          squares[c] += value * value;
        }
  }
  return sums.map((sum, c) => ({ mean: sum / count, deviation: Math.sqrt(Math.max(0, squares[c] / count - (sum / count) ** 2)) }));
}

const pixelsOf = (canvas) => canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);

/** The decode in the colours of the photograph; as it is where every cell was filled. cells: the filled ones of the grid {h, w, factor} */
export function matchedColours(decoded, photograph, cells, grid) {
  const ring = ringOf(cells, grid);
  if (!ring.length || !cells.length) return decoded;
  const pixels = pixelsOf(decoded);
  const there = momentsOf(pixelsOf(photograph), ring, grid);
  const here = momentsOf(pixels, ring, grid);
  const gains = here.map(({ deviation }, c) => (deviation < kFlat ? 1 : Math.min(kMostGain, Math.max(1 / kMostGain, there[c].deviation / deviation))));
  for (let i = 0; i < pixels.data.length; i += 4) for (let c = 0; c < 3; c++) pixels.data[i + c] = (pixels.data[i + c] - here[c].mean) * gains[c] + there[c].mean; // clamped by the array
  const out = blankCanvas(decoded.width, decoded.height);
  out.getContext('2d').putImageData(pixels, 0, 0);
  return out;
}

/** The picture of a result of a finished job with its filled cells in the photograph's colours, over what was there. */
export async function matchedResult(job, { tokens, order }) {
  const [h, w] = job.grid;
  const { image } = job.base;
  const grid = { h, w, factor: job.factor };
  const cells = [...order.keys()].filter((cell) => order[cell] > 0);
  const answer = await api.decode(job.model, rowsOf(tokens, h, w));
  return laidOver(image, matchedColours(await canvasOf(answer.image), image, cells, grid), cells, grid);
}

/** Whether the colours of this job are to be matched, and can be: its grid is that of the whole box. */
export const wantsMatch = (job) => Boolean(job.base?.match && job.base.area) && job.origin.x === 0 && job.origin.y === 0
  && job.grid[0] * job.factor >= job.base.image.height && job.grid[1] * job.factor >= job.base.image.width;

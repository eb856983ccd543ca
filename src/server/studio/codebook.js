/** The colour of each code of a model, asked once: a cell just filled is shown in it until a preview or the result comes. */
import * as api from './api.js';
import { blobOf, canvasOf, cellColours } from './pictures.js';

const kMostPixels = 1 << 19; // larger codebooks are not asked for: cells then stay plain until the preview
const colours = new Map(); // model name -> [K] of [r, g, b], or null while it is asked

/** [K] of [r, g, b], or null where they are not known (yet). */
export const codeColours = (name) => colours.get(name) ?? null;

/** Asks for a picture in which every code fills a block of two by two cells. In: a model of the capabilities. */
export async function learnCodeColours({ name, codebook_size: size, factor }) {
  const columns = Math.ceil(Math.sqrt(size));
  const rows = Math.ceil(size / columns);
  if (colours.has(name) || 4 * rows * columns * factor * factor > kMostPixels) return;
  colours.set(name, null);
  const tokens = Array.from({ length: 2 * rows }, (_, y) => Array.from({ length: 2 * columns }, (__, x) => Math.min(size - 1, (y >> 1) * columns + (x >> 1))));
  try {
    const { image } = await api.decode(name, tokens);
    const blocks = cellColours(await canvasOf(await blobOf(image)), { h: rows, w: columns, factor: 2 * factor });
    colours.set(name, blocks.slice(0, size));
  } catch {
    colours.delete(name); // a nicety: the job itself goes on
  }
}

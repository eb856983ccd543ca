/** The colour of each code of a model, asked once: a cell just filled is shown in it until a preview or the result comes, and the palette is made of them. */
import * as api from './api.js';
import { store } from './store.js';
import { blobOf, canvasOf, cellColours } from './pictures.js';

const kMostPixels = 1 << 19; // of one question; codebooks that need more are asked for when the palette is looked at
const colours = new Map(); // model name -> [K] of [r, g, b], or null while it is asked

/** [K] of [r, g, b], or null where they are not known (yet). */
export const codeColours = (name) => colours.get(name) ?? null;

/** The colours of `count` codes from `first` on: a picture in which each fills a block of two by two cells. */
async function coloursOf({ name, factor }, first, count) {
  const columns = Math.ceil(Math.sqrt(count));
  const rows = Math.ceil(count / columns);
  const tokens = Array.from({ length: 2 * rows }, (_, y) => Array.from({ length: 2 * columns }, (__, x) => first + Math.min(count - 1, (y >> 1) * columns + (x >> 1))));
  const { image } = await api.decode(name, tokens);
  return cellColours(await canvasOf(await blobOf(image)), { h: rows, w: columns, factor: 2 * factor }).slice(0, count);
}

/** In: a model of the capabilities. asked: the palette is looked at. */
export async function learnCodeColours(model, { asked = false } = {}) {
  const { name, codebook_size: size, factor } = model;
  const most = Math.max(1, Math.floor(kMostPixels / (4 * factor * factor)));
  if (colours.has(name) || (size > most && !asked)) return;
  colours.set(name, null);
  try {
    const known = [];
    while (known.length < size) known.push(...await coloursOf(model, known.length, Math.min(most, size - known.length)));
    colours.set(name, known);
    store.set({ codebook: {} });
  } catch {
    colours.delete(name); // a nicety: the job itself goes on
  }
}

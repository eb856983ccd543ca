/** The picture under edit: from a file, the clipboard, a result; its codes from the server. */
import * as api from './api.js';
import { store } from './store.js';
import { cellsOf, flatTokens, rowsOf } from './cells.js';
import { amendDoc, usePicture } from './edits.js';
import { blankCanvas, canvasOf, dataUriOf } from './pictures.js';
import { announce, complain, toast } from './announce.js';
import { taskOf } from './tasks/index.js';
import { areaOf, cropped, kMostPixels, wantsArea } from './work_area.js';
import { sizeWords, t } from './words.js';

export const modelOf = (state) => state.capabilities?.models.find((model) => model.name === state.model) ?? null;

/** A document of a canvas. tokens: Int32Array of the cells that it was decoded from, or null: the server is asked for them. */
export function documentOf(image, name, tokens = null) {
  const model = modelOf(store.get());
  const factor = model?.factor ?? 1;
  const { h, w } = cellsOf(image.width, image.height, factor);
  const fits = tokens && tokens.length === h * w;
  return { image, width: image.width, height: image.height, factor, h, w, name, model: model?.name ?? '', tokens: fits ? tokens : null, decoded: Boolean(fits) };
}

/** What a request says of the picture: itself, and its codes where it was decoded from them, which encoding it anew could miss. */
export function pictureOfRequest({ image, tokens, decoded, model, h, w }, chosen) {
  return { image: dataUriOf(image), ...(decoded && model === chosen ? { tokens: rowsOf(tokens, h, w) } : {}) };
}

/** Scaled so that the shorter side is `side`; the picture itself where it is so already. */
export function scaledTo(canvas, side) {
  const ratio = side / Math.min(canvas.width, canvas.height);
  if (ratio === 1) return canvas;
  let from = canvas;
  // Halving first: a browser's scaling looks at few pixels.
  while (Math.min(from.width, from.height) / 2 >= side) {
    const half = blankCanvas(Math.round(from.width / 2), Math.round(from.height / 2));
    half.getContext('2d').drawImage(from, 0, 0, half.width, half.height);
    from = half;
  }
  const out = blankCanvas(Math.max(1, Math.round(canvas.width * ratio)), Math.max(1, Math.round(canvas.height * ratio)));
  const context = out.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(from, 0, 0, out.width, out.height);
  return out;
}

/** Takes a picture in: a task that has one may lay it beside that, else it is the one to edit. */
export async function takeIn(source, name) {
  try {
    const full = source instanceof HTMLCanvasElement ? source : await canvasOf(source, kMostPixels);
    const model = modelOf(store.get());
    const native = model ? Math.min(model.width, model.height) : Math.min(full.width, full.height);
    const task = taskOf(store.get());
    const beside = task.takesPicture?.(store.get());
    if (!beside && wantsArea(full, model)) {
      openPhoto(full, name, model, source);
      return;
    }
    const long = (native / Math.min(full.width, full.height)) * Math.max(full.width, full.height);
    if (long * native > kMostFull) throw new Error(t('{size} pixels are too long and narrow: scaled to the {native} that this model works at, it would be {long} pixels long.', { size: sizeWords(full.width, full.height), native, long: Math.round(long) }));
    const image = scaledTo(full, native);
    if (beside) {
      task.takePicture(image, name);
      return;
    }
    open(image, name);
    if (image !== full) toast(t('Scaled from {from} to {to}: the size this model knows things at.', { from: sizeWords(full.width, full.height), to: sizeWords(image.width, image.height) }));
  } catch (error) {
    complain(error);
  }
}

const kMostFull = 1 << 20; // pixels of a picture that can be worked on whole

/** A picture larger than the model's size: worked on through a box, its whole content kept. */
function openPhoto(full, name, model, source) {
  const area = areaOf(full, name, model);
  if (source instanceof Blob) area.photo.file = source;
  open(cropped(area, model), name, area);
  const { box, photo } = area;
  const whole = box.width >= photo.width - 1 && box.height >= photo.height - 1;
  const can = full.width * full.height <= kMostFull;
  if (whole && !can) return;
  toast(t('{size} pixels: you work in a box of it.', { size: sizeWords(photo.width, photo.height) }),
    { action: can ? { label: t('Keep full size'), run: () => open(full, name) } : { label: t('Move the box'), run: () => store.set({ tool: 'area' }) } });
}

function open(image, name, area = null) {
  const doc = documentOf(image, name);
  usePicture(doc, { area });
  if (!taskOf(store.get()).needsPicture) store.set({ task: 'change' });
  announce(t('{name}, {width} by {height} pixels, {rows} by {columns} cells', { name, width: doc.width, height: doc.height, rows: doc.h, columns: doc.w }));
  loadTokens(doc);
}

const kMostPixelsUnasked = 1 << 20; // larger pictures are encoded when their codes are looked at

export async function loadTokens(doc, { asked = false } = {}) {
  if (doc.tokens || (!asked && doc.width * doc.height > kMostPixelsUnasked)) return doc.tokens;
  try {
    const answer = await api.encode(doc.model, dataUriOf(doc.image));
    const tokens = flatTokens(answer.tokens);
    if (tokens.length !== doc.h * doc.w) throw new Error(t('The server made {made} codes of this picture; {expected} were expected.', { made: tokens.length, expected: doc.h * doc.w }));
    amendDoc(doc, { tokens });
    return tokens;
  } catch (error) {
    if (asked) throw error;
    complain(error);
    return null;
  }
}

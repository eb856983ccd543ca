/**
 * A photograph larger than the model's own size is worked on through a box of the model's shape that is moved and scaled over
 * it. What lies in the box, scaled to the model's size, is the document of the edit; what changes in it is laid back over the
 * photograph, cell by cell with a feather, and everything else of the photograph stays as it is, pixel for pixel.
 *   area     {photo, box, patches, touched}, immutable; null where the document is the whole picture
 *   photo    {image: canvas, view: canvas of at most kView pixels a side, name, width, height}
 *   box      {x, y, width, height} photograph pixels
 *   touched  Uint8Array[h*w], cells of the document that are no longer the photograph's
 *   patches  [{box, image: canvas, cells, h, w, factor}] what was changed in earlier boxes, the oldest first
 */
import { blankCanvas, canvasOf, pngOf } from './pictures.js';

const kView = 2048; // pixels a side of what is drawn while one works
const kLayer = 1024; // of a patch as it is drawn
export const kMostPixels = 24e6; // of a photograph in the page
const kLeastBox = 0.25; // of the model's size: smaller boxes would blow up single pixels

/** A part of a picture at another size; halved first, since a browser's scaling looks at few pixels. */
function scaled(image, x, y, width, height, toWidth, toHeight) {
  let from = image;
  let [fx, fy, fw, fh] = [x, y, width, height];
  while (fw / 2 >= toWidth && fh / 2 >= toHeight) {
    const half = blankCanvas(Math.max(1, Math.round(fw / 2)), Math.max(1, Math.round(fh / 2)));
    half.getContext('2d').drawImage(from, fx, fy, fw, fh, 0, 0, half.width, half.height);
    [from, fx, fy, fw, fh] = [half, 0, 0, half.width, half.height];
  }
  const out = blankCanvas(toWidth, toHeight);
  const context = out.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(from, fx, fy, fw, fh, 0, 0, toWidth, toHeight);
  return out;
}

function photoOf(image, name) {
  const ratio = Math.min(1, kView / Math.max(image.width, image.height));
  const view = ratio === 1 ? image : scaled(image, 0, 0, image.width, image.height, Math.round(image.width * ratio), Math.round(image.height * ratio));
  return { image, view, name, width: image.width, height: image.height };
}

/** The box of this shape, as large as fits, in the middle. */
function largestBox({ width, height }, model) {
  const ratio = Math.min(width / model.width, height / model.height);
  const box = { width: Math.round(model.width * ratio), height: Math.round(model.height * ratio) };
  return { x: Math.round((width - box.width) / 2), y: Math.round((height - box.height) / 2), ...box };
}

/** Whether a picture is worked on through a box: it is larger than the model's size both ways. */
export const wantsArea = (image, model) => Boolean(model) && image.width > model.width && image.height > model.height;

export function areaOf(image, name, model) {
  const photo = photoOf(image, name);
  return { photo, box: largestBox(photo, model), patches: [], touched: null };
}

/** Fits a box into the photograph; it keeps its shape. */
function fittedBox({ photo }, { x, y, width, height }, model) {
  const most = Math.min(photo.width / model.width, photo.height / model.height);
  const ratio = Math.max(Math.min(kLeastBox, most), Math.min(most, width / model.width));
  const size = { width: Math.round(model.width * ratio), height: Math.round(model.height * ratio) };
  const [midX, midY] = [x + width / 2, y + height / 2];
  const clamp = (value, top) => Math.round(Math.max(0, Math.min(top, value)));
  return { x: clamp(midX - size.width / 2, photo.width - size.width), y: clamp(midY - size.height / 2, photo.height - size.height), ...size };
}

export const movedBox = (area, box, dx, dy, model) => fittedBox(area, { ...box, x: box.x + dx, y: box.y + dy }, model);

/** Scaled about its middle. */
export function scaledBox(area, box, factor, model) {
  const [width, height] = [box.width * factor, box.height * factor];
  return fittedBox(area, { x: box.x - (width - box.width) / 2, y: box.y - (height - box.height) / 2, width, height }, model);
}

/** One corner goes to a point, the opposite one stays. corner: [0 left | 1 right, 0 top | 1 bottom] */
export function draggedBox({ photo }, box, corner, point, model) {
  const fixed = { x: box.x + (corner[0] ? 0 : box.width), y: box.y + (corner[1] ? 0 : box.height) };
  const room = { x: corner[0] ? photo.width - fixed.x : fixed.x, y: corner[1] ? photo.height - fixed.y : fixed.y };
  const wanted = Math.max(Math.abs(point.x - fixed.x) / model.width, Math.abs(point.y - fixed.y) / model.height);
  const ratio = Math.max(kLeastBox, Math.min(wanted, room.x / model.width, room.y / model.height));
  const size = { width: Math.round(model.width * ratio), height: Math.round(model.height * ratio) };
  return { x: corner[0] ? fixed.x : fixed.x - size.width, y: corner[1] ? fixed.y : fixed.y - size.height, ...size };
}

/** How opaque a patch is, [height*width]: whole in its cells, gone two cells beyond them, and at sides of the box that lie within the photograph. */
function opacityOf({ cells, h, w, factor, box }, width, height, photo) {
  const grown = new Uint8Array(h * w);
  cells.forEach((set, index) => {
    if (!set) return;
    for (let y = Math.max(0, Math.floor(index / w) - 1); y <= Math.min(h - 1, Math.floor(index / w) + 1); y++)
      for (let x = Math.max(0, (index % w) - 1); x <= Math.min(w - 1, (index % w) + 1); x++) grown[y * w + x] = 1;
  });
  let opacity = new Float32Array(width * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) opacity[y * width + x] = grown[Math.floor(y / factor) * w + Math.floor(x / factor)];
  const reach = Math.max(1, Math.floor(factor / 2));
  for (const across of [true, false, true, false]) opacity = blurred(opacity, width, height, reach / 2, across);
  const inner = { left: box.x > 0, right: box.x + box.width < photo.width, top: box.y > 0, bottom: box.y + box.height < photo.height };
  const ramp = (distance) => Math.min(1, (distance + 0.5) / factor);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    let most = 1;
    if (inner.left) most = Math.min(most, ramp(x));
    if (inner.right) most = Math.min(most, ramp(width - 1 - x));
    if (inner.top) most = Math.min(most, ramp(y));
    if (inner.bottom) most = Math.min(most, ramp(height - 1 - y));
    opacity[y * width + x] *= most;
  }
  return opacity;
}

/** Mean over 2 reach + 1 pixels along one axis. */
function blurred(values, width, height, reach, across) {
  const r = Math.max(1, Math.round(reach));
  const out = new Float32Array(values.length);
  const [lines, length, step, stride] = across ? [height, width, 1, width] : [width, height, width, 1];
  for (let line = 0; line < lines; line++)
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (let k = i - r; k <= i + r; k++) sum += values[line * stride + Math.max(0, Math.min(length - 1, k)) * step];
      out[line * stride + i * step] = sum / (2 * r + 1);
    }
  return out;
}

const layers = new WeakMap(); // picture -> {cells, layer}

/** A patch as it lies over the photograph: its picture, transparent where nothing changed; null where nothing did. */
function layerOf(patch, photo) {
  if (!patch.cells?.some((set) => set)) return null;
  const known = layers.get(patch.image);
  if (known?.cells === patch.cells && known.box === patch.box) return known.layer;
  const { image, box } = patch;
  const opacity = opacityOf(patch, image.width, image.height, photo);
  const mask = blankCanvas(image.width, image.height);
  const context = mask.getContext('2d');
  const pixels = context.createImageData(image.width, image.height);
  opacity.forEach((value, k) => { pixels.data[4 * k + 3] = Math.round(255 * value); });
  context.putImageData(pixels, 0, 0);
  const ratio = Math.max(1, Math.min(box.width, kLayer) / image.width);
  const layer = blankCanvas(Math.round(image.width * ratio), Math.round(image.height * ratio));
  const draw = layer.getContext('2d');
  draw.imageSmoothingQuality = 'high';
  draw.drawImage(image, 0, 0, layer.width, layer.height);
  draw.globalCompositeOperation = 'destination-in';
  draw.drawImage(mask, 0, 0, layer.width, layer.height);
  layers.set(image, { cells: patch.cells, box, layer });
  return layer;
}

const patchOf = (area, { image, h, w, factor }, cells) => ({ box: area.box, image, cells, h, w, factor });

/** The photograph with its patches, in its own pixels. live: {doc, cells} of the present box; original: without any patch. */
export function paintPhoto(context, area, { live = null, original = false, image = area.photo.view } = {}) {
  const { photo } = area;
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, 0, 0, photo.width, photo.height);
  if (original) return;
  for (const patch of [...area.patches, ...(live?.cells ? [patchOf(area, live.doc, live.cells)] : [])]) {
    const layer = layerOf(patch, photo);
    if (layer) context.drawImage(layer, patch.box.x, patch.box.y, patch.box.width, patch.box.height);
  }
}

/** The whole photograph as it is now. */
export function wholePicture(area, doc, cells = area.touched) {
  const canvas = blankCanvas(area.photo.width, area.photo.height);
  paintPhoto(canvas.getContext('2d'), area, { live: { doc, cells }, image: area.photo.image });
  return canvas;
}

/** What lies in the box, at the model's size. */
export function cropped(area, model) {
  const { box } = area;
  const part = blankCanvas(box.width, box.height);
  const context = part.getContext('2d');
  context.translate(-box.x, -box.y);
  paintPhoto(context, area, { image: area.photo.image });
  return scaled(part, 0, 0, box.width, box.height, model.width, model.height);
}

/** The area with what was changed in the present box kept as a patch, and another box. */
export function withBox(area, doc, box) {
  const changed = area.touched?.some((set) => set);
  return { ...area, box, touched: null, patches: changed ? [...area.patches, patchOf(area, doc, area.touched)] : area.patches };
}

/** More cells of the document are no longer the photograph's. */
export function withTouched(area, cells, count) {
  const touched = area.touched?.length === count ? area.touched.slice() : new Uint8Array(count);
  for (const cell of cells) touched[cell] = 1;
  return { ...area, touched };
}

/** A mask goes with the photograph, not with the box. from, to: boxes over grids {h, w} of one size */
export function movedMask(mask, { h, w }, from, to) {
  const out = new Uint8Array(h * w);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const px = to.x + ((x + 0.5) * to.width) / w;
    const py = to.y + ((y + 0.5) * to.height) / h;
    const cx = Math.floor(((px - from.x) * w) / from.width);
    const cy = Math.floor(((py - from.y) * h) / from.height);
    if (cx >= 0 && cy >= 0 && cx < w && cy < h) out[y * w + x] = mask[cy * w + cx];
  }
  return out;
}

/** As the browser's database takes it, and back. */
export async function writtenArea(area) {
  if (!area) return null;
  const { photo } = area;
  const file = photo.file ?? await pngOf(photo.image);
  return { ...area, photo: { file, name: photo.name }, patches: await Promise.all(area.patches.map(async (patch) => ({ ...patch, image: await pngOf(patch.image) }))) };
}

export async function readArea(saved) {
  if (!saved) return null;
  const photo = { ...photoOf(await canvasOf(saved.photo.file, kMostPixels), saved.photo.name), file: saved.photo.file };
  return { ...saved, photo, patches: await Promise.all(saved.patches.map(async (patch) => ({ ...patch, image: await canvasOf(patch.image) }))) };
}

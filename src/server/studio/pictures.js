/** Pictures in and out of the page: files, clipboard, data URIs, canvases. */
import { t } from './words.js';

export function blankCanvas(width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** A canvas with the picture on white: the models know no transparency. most: pixels, a larger picture is scaled down. Throws where the bytes are no picture. */
export async function canvasOf(source, most = Infinity) {
  let bitmap;
  try {
    bitmap = source instanceof Blob ? await createImageBitmap(source) : await createImageBitmap(await blobOf(source));
  } catch {
    throw new Error(t('This is not a picture that the browser can read. PNG, JPEG and WebP work.'));
  }
  const ratio = Math.min(1, Math.sqrt(most / (bitmap.width * bitmap.height)));
  const canvas = blankCanvas(Math.max(1, Math.round(bitmap.width * ratio)), Math.max(1, Math.round(bitmap.height * ratio)));
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
}

/** The bytes of a data URI. fetch would do it too, but not under the page's content policy. */
export async function blobOf(dataUri) {
  const match = /^data:([^;,]+)(;base64)?,(.*)$/s.exec(dataUri);
  if (!match) throw new Error(t('expected a data: URI'));
  const text = match[2] ? atob(match[3]) : decodeURIComponent(match[3]);
  return new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: match[1] });
}

export const dataUriOf = (canvas) => canvas.toDataURL('image/png');

const pngs = new WeakMap();
/** Promise of the PNG of a canvas that is not drawn on again. */
export function pngOf(canvas) {
  if (!pngs.has(canvas)) pngs.set(canvas, new Promise((resolve) => canvas.toBlob(resolve, 'image/png')));
  return pngs.get(canvas);
}

/** A mask as the server takes it, of the picture's size: white where the cell is set. */
export function maskPicture(mask, grid, width, height) {
  const canvas = blankCanvas(width, height);
  const context = canvas.getContext('2d');
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  context.fillStyle = '#fff';
  mask.forEach((set, index) => {
    if (set) context.fillRect((index % grid.w) * grid.factor, Math.floor(index / grid.w) * grid.factor, grid.factor, grid.factor);
  });
  return canvas;
}

const means = new WeakMap();

/** Mean colour of each cell of a picture, [h*w] CSS colours; remembered per canvas. */
export function cellColours(canvas, grid) {
  let known = means.get(canvas);
  if (known && known.key === `${grid.h},${grid.w},${grid.factor}`) return known.colours;
  const { data, width, height } = canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
  const colours = [];
  for (let cy = 0; cy < grid.h; cy++)
    for (let cx = 0; cx < grid.w; cx++) {
      let r = 0, g = 0, b = 0, count = 0;
      for (let y = cy * grid.factor; y < Math.min(height, (cy + 1) * grid.factor); y++)
        for (let x = cx * grid.factor; x < Math.min(width, (cx + 1) * grid.factor); x++) {
          const i = (y * width + x) * 4;
          r += data[i];
          g += data[i + 1];
          b += data[i + 2];
          count++;
        }
      count ||= 1;
      colours.push([r / count, g / count, b / count]);
    }
  means.set(canvas, { key: `${grid.h},${grid.w},${grid.factor}`, colours });
  return colours;
}

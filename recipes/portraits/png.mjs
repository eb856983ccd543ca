/** Small lossless PNG of opaque pixels: a palette where 256 colours do, else RGB with the filter chosen line by line. */
import { deflateSync } from 'node:zlib';
import { crc32 } from './crc32.mjs';

const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const deflate = (bytes) => deflateSync(bytes, { level: 9, memLevel: 9 });

function chunk(type, body) {
  const out = Buffer.alloc(body.length + 12);
  out.writeUInt32BE(body.length, 0);
  out.write(type, 4, 'latin1');
  body.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, body.length + 8)), body.length + 8);
  return out;
}

function file(width, height, colourType, palette, data) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8; // bits a sample
  header[9] = colourType;
  const parts = [signature, chunk('IHDR', header)];
  if (palette) parts.push(chunk('PLTE', palette));
  return Buffer.concat([...parts, chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

function indexed(rgba, width, height) {
  const index = new Map();
  const lines = Buffer.alloc(height * (width + 1)); // filter 0
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      const colour = (rgba[at] << 16) | (rgba[at + 1] << 8) | rgba[at + 2];
      let place = index.get(colour);
      if (place === undefined) {
        if (index.size === 256) return null;
        index.set(colour, (place = index.size));
      }
      lines[y * (width + 1) + 1 + x] = place;
    }
  const palette = Buffer.alloc(3 * index.size);
  for (const [colour, place] of index) palette.writeUIntBE(colour, 3 * place, 3);
  return file(width, height, 3, palette, deflate(lines));
}

/** PNG specification, section 9.2. */
const predictors = [
  () => 0,
  (left) => left,
  (_, up) => up,
  (left, up) => (left + up) >> 1,
  (left, up, corner) => {
    const p = left + up - corner;
    const [a, b, c] = [Math.abs(p - left), Math.abs(p - up), Math.abs(p - corner)];
    return a <= b && a <= c ? left : b <= c ? up : corner;
  },
];

function filtered(rgba, width, height) {
  const stride = 3 * width;
  const lines = Buffer.alloc(height * (stride + 1));
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const line = new Uint8Array(stride);
    for (let x = 0; x < width; x++) for (let k = 0; k < 3; k++) line[3 * x + k] = rgba[4 * (y * width + x) + k];
    let least = Infinity;
    predictors.forEach((predict, filter) => {
      const out = new Uint8Array(stride);
      let sum = 0; // of absolute differences, the usual measure
      for (let i = 0; i < stride; i++) {
        out[i] = line[i] - predict(i < 3 ? 0 : line[i - 3], above[i], i < 3 ? 0 : above[i - 3]);
        sum += out[i] < 128 ? out[i] : 256 - out[i];
      }
      if (sum >= least) return;
      least = sum;
      lines[y * (stride + 1)] = filter;
      lines.set(out, y * (stride + 1) + 1);
    });
    above = line;
  }
  return file(width, height, 2, null, deflate(lines));
}

/** In: [height, width, 4] bytes, alpha 255. */
export function encodePng(rgba, width, height) {
  return indexed(rgba, width, height) ?? filtered(rgba, width, height);
}

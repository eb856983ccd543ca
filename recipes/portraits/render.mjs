/** A portrait as a record of metadata.jsonl and a PNG. In: seed, number, size in pixels, styles. */
import { Resvg } from '@resvg/resvg-js';
import { encodePng } from './png.mjs';
import { portrait } from './portrait.mjs';
import { splitOf } from './split.mjs';

const fileName = (number) => `images/${String(number).padStart(6, '0')}.png`;

/** Without drawing: the SVG and the line of metadata.jsonl. */
export function record(seed, number, styleNames) {
  const { svg, attributes, keywords, text, license } = portrait(seed, number, styleNames);
  return { svg, line: { file_name: fileName(number), text, ...attributes, keywords, license, split: splitOf(attributes) } };
}

/** Out: [size, size, 4] bytes, alpha 255. */
export const pixelsOf = (svg, size) => new Resvg(svg, { fitTo: { mode: 'width', value: size }, font: { loadSystemFonts: false } }).render().pixels;

export function drawPixels(seed, number, size, styleNames) {
  const { svg, line } = record(seed, number, styleNames);
  return { line, pixels: pixelsOf(svg, size) };
}

export function render(seed, number, size, styleNames) {
  const { line, pixels } = drawPixels(seed, number, size, styleNames);
  return { line, png: encodePng(pixels, size, size) };
}

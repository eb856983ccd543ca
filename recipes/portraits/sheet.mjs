#!/usr/bin/env node
/** A contact sheet: a row a style, the first portraits of a seed. `node sheet.mjs --columns 10 --size 128 --seed 0 --out contact-sheet.png` */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { encodePng } from './png.mjs';
import { drawPixels } from './render.mjs';
import { styles } from './styles.mjs';

const text = (value) => ({ type: 'string', default: value });
const { values } = parseArgs({ options: { columns: text('10'), size: text('128'), seed: text('0'), out: text('contact-sheet.png') } });
const [columns, size] = [Number(values.columns), Number(values.size)];
const names = Object.keys(styles);
const gap = 4;
const [width, height] = [columns * (size + gap) - gap, names.length * (size + gap) - gap];
const sheet = Buffer.alloc(4 * width * height, 255);
names.forEach((name, row) => {
  for (let column = 0; column < columns; column++) {
    const { pixels } = drawPixels(Number(values.seed), row * columns + column, size, [name]);
    for (let y = 0; y < size; y++) {
      const at = 4 * ((row * (size + gap) + y) * width + column * (size + gap));
      sheet.set(pixels.subarray(4 * y * size, 4 * (y + 1) * size), at);
    }
  }
});
const png = encodePng(sheet, width, height);
writeFileSync(values.out, png);
console.log(`${values.out}: ${names.join(', ')}; ${width}x${height}, ${png.length} bytes`);

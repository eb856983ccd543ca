/** The grid of options as one picture: its cells at one size, the values beside and above them, what all share below. */
import { store } from './store.js';
import { complain } from './announce.js';
import { download } from './export.js';
import { blankCanvas, canvasOf } from './pictures.js';
import { t } from './words.js';

const kLeast = 128; // pixels of a cell's longer side; smaller pictures are drawn larger by a whole factor
const kMost = 512;
const kGap = 6;
const kText = 16; // pixels
const kFont = `${kText}px system-ui, sans-serif`;
const kMostSide = 220; // pixels of the words beside a row
const kMostLetters = 42; // of a value

const cut = (value) => (String(value).length > kMostLetters ? `${String(value).slice(0, kMostLetters - 1)}…` : String(value));

/** Words broken into lines of at most `width` pixels. */
function linesOf(context, words, width) {
  const lines = [''];
  for (const word of String(words).split(/\s+/)) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (context.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** The size at which a cell is drawn. */
function tileOf(cells) {
  const width = Math.max(...cells.map(({ about }) => about.width));
  const height = Math.max(...cells.map(({ about }) => about.height));
  const long = Math.max(width, height);
  const ratio = long < kLeast ? Math.ceil(kLeast / long) : Math.min(1, kMost / long);
  return { width: Math.round(width * ratio), height: Math.round(height * ratio) };
}

/** Draws the grid; cells without a picture stay open tiles. */
export async function sheetOf({ title, facts, x, y, cells }) {
  const tile = tileOf(cells);
  const across = x.values.length;
  const down = y?.values.length ?? 1;
  const measure = blankCanvas(1, 1).getContext('2d');
  measure.font = kFont;
  const tops = x.values.map((value) => linesOf(measure, cut(value), tile.width));
  const sides = (y?.values ?? []).map((value) => linesOf(measure, cut(value), kMostSide));
  const widest = (lines) => Math.max(0, ...lines.flat().map((line) => measure.measureText(line).width));
  const left = y ? Math.ceil(Math.max(widest(sides), measure.measureText(y.label).width)) + 3 * kGap : kGap;
  const line = kText * 1.3;
  const top = Math.ceil(line * (1.5 + 1 + Math.max(...tops.map(({ length }) => length)))) + kGap;
  const width = Math.max(left + across * (tile.width + kGap), Math.ceil(measure.measureText(title).width) + 2 * kGap);
  const footer = facts ? linesOf(measure, facts, width - 2 * kGap) : [];
  const canvas = blankCanvas(width, top + down * (tile.height + kGap) + Math.ceil(footer.length * line) + kGap);
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#1f1e1b';
  context.textBaseline = 'top';
  context.font = `600 ${kFont}`;
  context.fillText(title, kGap, kGap);
  context.fillText(x.label, left, kGap + 1.5 * line);
  if (y) context.fillText(y.label, kGap, kGap + 1.5 * line);
  context.font = kFont;
  tops.forEach((lines, k) => lines.forEach((words, n) => context.fillText(words, left + k * (tile.width + kGap), kGap + (2.5 + n) * line, tile.width)));
  sides.forEach((lines, k) => lines.forEach((words, n) => context.fillText(words, kGap, top + k * (tile.height + kGap) + n * line)));
  for (const [index, { entry }] of cells.entries()) {
    const [px, py] = [left + (index % across) * (tile.width + kGap), top + Math.floor(index / across) * (tile.height + kGap)];
    context.fillStyle = '#e4e0d6';
    context.fillRect(px, py, tile.width, tile.height);
    if (!entry) continue;
    const picture = await canvasOf(entry.pictures[0].blob);
    const ratio = Math.min(tile.width / picture.width, tile.height / picture.height);
    context.imageSmoothingEnabled = ratio < 1 || !Number.isInteger(ratio);
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture, px, py, picture.width * ratio, picture.height * ratio);
  }
  context.fillStyle = '#635f57';
  footer.forEach((words, n) => context.fillText(words, kGap, top + down * (tile.height + kGap) + n * line));
  return canvas;
}

export async function downloadGrid() {
  const { xy } = store.get();
  try {
    const canvas = await sheetOf(xy);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    if (!blob) throw new Error(t('The grid is too large for a picture of this browser.'));
    const url = URL.createObjectURL(blob);
    download({ url, name: `grid-${[xy.x, xy.y].filter(Boolean).map(({ name }) => name).join('-by-')}.png` });
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain(error);
  }
}

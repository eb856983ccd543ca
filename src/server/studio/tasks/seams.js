/**
 * Which cells of a canvas the model makes, and what the pieces keep. Where two pieces meet, or one lies over another, a seam of
 * `seam` cells opens in each of them; onto the lowest picture, the seam lies around the others, in it alone.
 */
const kNone = -1;

const isPart = (a, b) => a.image === b.image && a.from[0] - a.to[0] === b.from[0] - b.to[0] && a.from[1] - a.to[1] === b.from[1] - b.to[1];

/** The piece that shows in each cell, [h*w]: its index, the last lies on top; -1 where there is none. Parts of one picture, side by side as in it, are one. */
function owners(pieces, { h, w, factor }) {
  const owner = new Int16Array(h * w).fill(kNone);
  pieces.forEach(({ from, to }, piece) => {
    const k = pieces.findIndex((other) => isPart(other, pieces[piece]));
    const [left, top] = to.map((pixel) => Math.floor(pixel / factor));
    const [right, bottom] = [to[0] + from[2], to[1] + from[3]].map((pixel, axis) => Math.min(axis ? h : w, Math.ceil(pixel / factor)));
    for (let y = Math.max(0, top); y < bottom; y++) for (let x = Math.max(0, left); x < right; x++) owner[y * w + x] = k;
  });
  return owner;
}

function dilated(cells, { h, w }, by) {
  const out = new Uint8Array(h * w);
  cells.forEach((set, index) => {
    if (!set) return;
    const [cy, cx] = [Math.floor(index / w), index % w];
    for (let y = Math.max(0, cy - by); y <= Math.min(h - 1, cy + by); y++) for (let x = Math.max(0, cx - by); x <= Math.min(w - 1, cx + by); x++) out[y * w + x] = 1;
  });
  return out;
}

/** Cells beside one of another piece. */
function meeting(owner, { h, w }) {
  const cells = new Uint8Array(h * w);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const mine = owner[y * w + x];
    if (mine === kNone) continue;
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      const [nx, ny] = [x + dx, y + dy];
      if (nx >= 0 && ny >= 0 && nx < w && ny < h && owner[ny * w + nx] !== kNone && owner[ny * w + nx] !== mine) cells[y * w + x] = 1;
    }
  }
  return cells;
}

/** Rectangles [x, y, width, height] (cells) that together are the set: rows of runs, equal ones below each other joined. */
function rectangles(cells, { h, w }) {
  const done = [];
  let open = [];
  for (let y = 0; y < h; y++) {
    const runs = [];
    for (let x = 0; x < w; x++) {
      if (!cells[y * w + x]) continue;
      const start = x;
      while (x < w && cells[y * w + x]) x++;
      runs.push([start, x - start]);
    }
    const next = runs.map(([x, width]) => open.find((rect) => rect[0] === x && rect[2] === width) ?? [x, y, width, 0]);
    for (const rect of next) rect[3]++;
    for (const rect of open) if (!next.includes(rect)) done.push(rect);
    open = next;
  }
  return [...done, ...open];
}

function seamCells(owner, grid, seam, onto) {
  if (seam === 0) return new Uint8Array(owner.length);
  if (!onto) return dilated(meeting(owner, grid), grid, seam - 1);
  return dilated(Uint8Array.from(owner, (piece) => (piece > 0 ? 1 : 0)), grid, seam).map((set, cell) => (set && owner[cell] === 0 ? 1 : 0));
}

/** {open: Uint8Array[h*w], kept: pieces as they are sent}. grid: {h, w, factor}; seam: cells; onto: the others are pasted onto the first. */
export function seamsOf(pieces, grid, seam, onto) {
  const owner = owners(pieces, grid);
  const seams = seamCells(owner, grid, seam, onto);
  const open = Uint8Array.from(owner, (piece, cell) => (piece === kNone || seams[cell] ? 1 : 0));
  if (!seams.some((set) => set)) return { open, kept: pieces };
  const f = grid.factor;
  const kept = pieces.flatMap(({ image, from, to, ...rest }, k) =>
    rectangles(Uint8Array.from(owner, (piece, cell) => (piece === k && !open[cell] ? 1 : 0)), grid).map(([x, y, width, height]) => {
      const [left, top] = [from[0] + x * f - to[0], from[1] + y * f - to[1]];
      return { ...rest, image, from: [left, top, Math.min(width * f, image.width - left), Math.min(height * f, image.height - top)], to: [x * f, y * f] };
    }));
  return { open, kept };
}

/** Arithmetic of cells: which ones a brush, a rectangle or a lasso touches. Masks are Uint8Array[h*w], row-major. */

/** {h, w} of a picture in cells; the last row and column may be part beyond it. */
export const cellsOf = (width, height, factor) => ({ h: Math.ceil(height / factor), w: Math.ceil(width / factor) });

/** The cell that holds a pixel, or null outside. */
export function cellAt(grid, x, y) {
  const cell = { x: Math.floor((x - (grid.left ?? 0)) / grid.factor), y: Math.floor((y - (grid.top ?? 0)) / grid.factor) };
  return cell.x < 0 || cell.y < 0 || cell.x >= grid.w || cell.y >= grid.h ? null : cell;
}

/** The mask with these cells set to value; the same array where nothing changes. */
export function withCells(mask, cells, value) {
  let next = mask;
  for (const index of cells) {
    if (next[index] === value) continue;
    if (next === mask) next = mask.slice();
    next[index] = value;
  }
  return next;
}

/** Cells of a square brush, `size` cells across, along the segment from (x0, y0) to (x1, y1) pixels. */
export function brushCells(grid, x0, y0, x1, y1, size) {
  const cells = new Set();
  const length = Math.hypot(x1 - x0, y1 - y0) / grid.factor;
  const points = Math.max(1, Math.ceil(length * 2));
  for (let i = 0; i <= points; i++) {
    const x = (x0 + ((x1 - x0) * i) / points) / grid.factor;
    const y = (y0 + ((y1 - y0) * i) / points) / grid.factor;
    const left = Math.round(x - size / 2);
    const top = Math.round(y - size / 2);
    for (let cy = Math.max(0, top); cy < Math.min(grid.h, top + size); cy++)
      for (let cx = Math.max(0, left); cx < Math.min(grid.w, left + size); cx++) cells.add(cy * grid.w + cx);
  }
  return cells;
}

/** Cells that the rectangle between two pixels touches. */
export function rectangleCells(grid, x0, y0, x1, y1) {
  const cells = [];
  const clamp = (value, most) => Math.max(0, Math.min(most - 1, value));
  const left = clamp(Math.floor(Math.min(x0, x1) / grid.factor), grid.w);
  const right = clamp(Math.floor((Math.max(x0, x1) - 1e-6) / grid.factor), grid.w);
  const top = clamp(Math.floor(Math.min(y0, y1) / grid.factor), grid.h);
  const bottom = clamp(Math.floor((Math.max(y0, y1) - 1e-6) / grid.factor), grid.h);
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) cells.push(y * grid.w + x);
  return cells;
}

/** Cells whose centre lies inside the polygon (even-odd), and those its outline runs through. points: [[x, y]] pixels. */
export function lassoCells(grid, points) {
  const cells = new Set();
  for (let y = 0; y < grid.h; y++) {
    const py = (y + 0.5) * grid.factor;
    const crossings = [];
    for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
      const [xi, yi] = points[i];
      const [xj, yj] = points[j];
      if (yi > py !== yj > py) crossings.push(xi + ((py - yi) / (yj - yi)) * (xj - xi));
    }
    crossings.sort((a, b) => a - b);
    for (let x = 0; x < grid.w; x++) {
      const px = (x + 0.5) * grid.factor;
      if (crossings.filter((crossing) => crossing < px).length % 2 === 1) cells.add(y * grid.w + x);
    }
  }
  for (let i = 0; i < points.length; i++) {
    const [x0, y0] = points[i];
    const [x1, y1] = points[(i + 1) % points.length];
    for (const index of brushCells(grid, x0, y0, x1, y1, 1)) cells.add(index);
  }
  return cells;
}

/** Cells within `radius` of one, a square of side 2 radius + 1. */
export function neighbourCells(grid, cell, radius) {
  const cells = [];
  for (let y = Math.max(0, cell.y - radius); y <= Math.min(grid.h - 1, cell.y + radius); y++)
    for (let x = Math.max(0, cell.x - radius); x <= Math.min(grid.w - 1, cell.x + radius); x++) cells.push(y * grid.w + x);
  return cells;
}

export const inverted = (mask) => mask.map((value) => 1 - value);
export const countSet = (mask) => (mask ? mask.reduce((sum, value) => sum + value, 0) : 0);

/** Row-major tokens as rows; -1 (MASK) becomes null. */
export function rowsOf(tokens, h, w) {
  const rows = [];
  for (let y = 0; y < h; y++) {
    const row = [];
    for (let x = 0; x < w; x++) row.push(tokens[y * w + x] < 0 ? null : tokens[y * w + x]);
    rows.push(row);
  }
  return rows;
}

/** Rows or a flat list as Int32Array, null as -1. */
export function flatTokens(rows) {
  const flat = Array.isArray(rows[0]) ? rows.flat() : rows;
  return Int32Array.from(flat, (token) => (token === null || token < 0 ? -1 : token));
}

/** Where windows begin along an axis: 0, stride, 2 stride, ..., the last flush with the far border (cells). */
export function windowStarts(length, window, stride) {
  if (window >= length) return [0];
  const starts = [];
  for (let start = 0; start + window < length; start += stride) starts.push(start);
  starts.push(length - window);
  return starts;
}

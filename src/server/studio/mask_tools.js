/** The tools that mark cells. Each gives a handler {cursor, footprint, down, move, up, cancel} in picture pixels. */
import { store } from './store.js';
import { beginStroke, change, endStroke } from './edits.js';
import { brushCells, cellAt, inverted, lassoCells, rectangleCells, withCells } from './cells.js';
import { showFootprint } from './stage.js';
import { adoptShown } from './adopt.js';
import { codeBrush, pipette } from './code_brush.js';
import { inspectCell } from './inspector.js';
import { taskOf } from './tasks/index.js';

export const kLargestBrush = 12; // cells

function mark(grid, cells, value) {
  const { mask } = store.get().edit;
  const next = withCells(mask, cells, value);
  if (next !== mask) change({ mask: next });
}

function brush(grid, size, value) {
  let last = null;
  const footprint = (point) => [...brushCells(grid, point.x, point.y, point.x, point.y, size)];
  const stroke = (point) => {
    mark(grid, brushCells(grid, last.x, last.y, point.x, point.y, size), value);
    last = point;
    showFootprint(footprint(point));
  };
  return {
    cursor: 'paint', footprint,
    down(point) { beginStroke(); last = point; stroke(point); },
    move: stroke,
    up: endStroke,
  };
}

function rectangle(grid) {
  let from = null;
  let value = 1;
  return {
    cursor: 'paint',
    footprint: (point) => { const cell = cellAt(grid, point.x, point.y); return cell ? [cell.y * grid.w + cell.x] : []; },
    down(point, event) { from = point; value = event.altKey ? 0 : 1; showFootprint(rectangleCells(grid, point.x, point.y, point.x, point.y)); },
    move(point) { showFootprint(rectangleCells(grid, from.x, from.y, point.x, point.y)); },
    up(point) { mark(grid, rectangleCells(grid, from.x, from.y, point.x, point.y), value); showFootprint([]); },
    cancel() { showFootprint([]); },
  };
}

function lasso(grid) {
  let points = [];
  let value = 1;
  return {
    cursor: 'paint',
    down(point, event) { points = [[point.x, point.y]]; value = event.altKey ? 0 : 1; },
    move(point) { points.push([point.x, point.y]); showFootprint([...lassoCells(grid, points)]); },
    up() { mark(grid, lassoCells(grid, points), value); showFootprint([]); },
    cancel() { showFootprint([]); },
  };
}

function inspecting(grid) {
  const cellFor = (point) => cellAt(grid, point.x, point.y);
  return {
    cursor: 'inspect',
    footprint: (point) => { const cell = cellFor(point); return cell ? [cell.y * grid.w + cell.x] : []; },
    up(point) { const cell = cellFor(point); if (cell) inspectCell(cell); },
  };
}

/** The tool's handler for this picture, or null where it has nothing to work on. */
export function toolOf(state, scene) {
  if (!scene || !scene.fits) return null;
  if (state.tool === 'inspect') return inspecting(scene.grid);
  const codes = !state.compare && (scene.kind === 'picture' || (scene.kind === 'result' && state.job?.phase === 'done'));
  if (state.tool === 'pick') return codes ? pipette(scene) : null;
  if (state.tool === 'codes') return codes ? codeBrush(scene, state.brush) : null;
  if (!taskOf(state).usesMask || state.task !== taskOf(state).id || state.compare) return null;
  const tool = {
    brush: () => brush(scene.grid, state.brush, 1), eraser: () => brush(scene.grid, state.brush, 0),
    rectangle: () => rectangle(scene.grid), lasso: () => lasso(scene.grid),
  }[state.tool]?.();
  if (!tool || scene.kind !== 'result') return tool ?? null;
  // Painting on a result makes it the picture first; while a job runs it is only watched.
  if (state.job?.phase !== 'done') return null;
  return { ...tool, down(point, event) { if (adoptShown()) tool.down(point, event); } };
}

export function setBrush(size) {
  store.set({ brush: Math.max(1, Math.min(kLargestBrush, size)) });
}

export function invertMask() {
  const { mask } = store.get().edit;
  if (mask) change({ mask: inverted(mask) });
}

export function clearMask() {
  const { mask } = store.get().edit;
  if (mask?.some((value) => value)) change({ mask: new Uint8Array(mask.length) });
}

/** Marks or unmarks one cell, as the keyboard does. Returns the new value. */
export function toggleCell(cell, grid) {
  const index = cell.y * grid.w + cell.x;
  const value = store.get().edit.mask[index] ? 0 : 1;
  mark(grid, [index], value);
  return value;
}

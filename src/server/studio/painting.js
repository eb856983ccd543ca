/** Draws a scene in picture pixels. In: a context whose transform maps them; scale, CSS pixels a picture pixel. */
import { palette } from './palette.js';
import { cellColours } from './pictures.js';
import { paintPhoto } from './work_area.js';

const kNumberSize = 30; // CSS pixels a cell needs before its code is written on it

/** Calls back with (index, x, y, width, height) for each cell in view; cut to the extent. */
function eachCell(scene, view, callback) {
  const { grid, extent } = scene;
  const { factor: f, left = 0, top = 0 } = grid;
  const x1 = Math.min(grid.w, Math.ceil((view.right - left) / f));
  const y1 = Math.min(grid.h, Math.ceil((view.bottom - top) / f));
  for (let y = Math.max(0, Math.floor((view.top - top) / f)); y < y1; y++)
    for (let x = Math.max(0, Math.floor((view.left - left) / f)); x < x1; x++) {
      const width = Math.min(f, extent.left + extent.width - left - x * f);
      const height = Math.min(f, extent.top + extent.height - top - y * f);
      if (width > 0 && height > 0) callback(y * grid.w + x, left + x * f, top + y * f, width, height);
    }
}

/** The outline of a set of cells as one path. */
export function outlineOf(mask, grid) {
  const path = new Path2D();
  const f = grid.factor;
  const set = (x, y) => x >= 0 && y >= 0 && x < grid.w && y < grid.h && mask[y * grid.w + x] === 1;
  for (let y = 0; y < grid.h; y++)
    for (let x = 0; x < grid.w; x++) {
      if (!set(x, y)) continue;
      const sides = [[0, -1, x, y, x + 1, y], [0, 1, x, y + 1, x + 1, y + 1], [-1, 0, x, y, x, y + 1], [1, 0, x + 1, y, x + 1, y + 1]];
      for (const [dx, dy, x0, y0, x1, y1] of sides)
        if (!set(x + dx, y + dy)) {
          path.moveTo(x0 * f, y0 * f);
          path.lineTo(x1 * f, y1 * f);
        }
    }
  return path;
}

function openTile(context, colours, x, y, width, height) {
  const inset = Math.min(width, height) * 0.07;
  context.fillStyle = colours.tileEdge;
  context.fillRect(x, y, width, height);
  context.fillStyle = colours.tile;
  context.fillRect(x + inset, y + inset, width - 2 * inset, height - 2 * inset);
}

/** Tiles where a cell is set, over what is there. */
export function openTiles(context, grid, cells, alpha = 1) {
  const colours = palette();
  const f = grid.factor;
  context.save();
  context.globalAlpha = alpha;
  cells.forEach((set, index) => set && openTile(context, colours, (index % grid.w) * f, Math.floor(index / grid.w) * f, f, f));
  context.restore();
}

function codeTiles(context, scene, view, scale, blend, colours) {
  if (!scene.image || !scene.fits) return;
  const cells = cellColours(scene.image, coloursGrid(scene));
  context.save();
  context.globalAlpha = blend;
  eachCell(scene, view, (index, x, y, width, height) => {
    const [r, g, b] = cells[index] ?? [128, 128, 128];
    const inset = 0.04 * width;
    context.fillStyle = colours.paper;
    context.fillRect(x, y, width, height);
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.beginPath();
    context.roundRect(x + inset, y + inset, width - 2 * inset, height - 2 * inset, width * 0.14);
    context.fill();
    if (scale * width < kNumberSize || blend < 0.35 || !scene.tokens || scene.tokens[index] < 0) return;
    context.fillStyle = 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#1c1b18' : '#fbfaf6';
    context.font = `${width * 0.3}px ui-monospace, "DejaVu Sans Mono", monospace`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(scene.tokens[index], x + width / 2, y + height / 2);
  });
  context.restore();
}

/** A preview may be smaller than the picture it stands for: cells are then measured on it. */
function coloursGrid(scene) {
  const ratio = scene.image.width / scene.at.width;
  return { h: scene.grid.h, w: scene.grid.w, factor: Math.max(1, Math.round(scene.grid.factor * ratio)) };
}

function gridLines(context, scene, view, scale, colours, strength) {
  context.save();
  context.globalAlpha = strength;
  context.strokeStyle = colours.ink;
  context.lineWidth = 1 / scale;
  context.beginPath();
  const { grid, extent } = scene;
  const right = extent.left + extent.width;
  const bottom = extent.top + extent.height;
  for (let x = 1; x < grid.w && x * grid.factor < right; x++) {
    context.moveTo(x * grid.factor, Math.max(0, view.top));
    context.lineTo(x * grid.factor, Math.min(bottom, view.bottom));
  }
  for (let y = 1; y < grid.h && y * grid.factor < bottom; y++) {
    context.moveTo(Math.max(0, view.left), y * grid.factor);
    context.lineTo(Math.min(right, view.right), y * grid.factor);
  }
  context.stroke();
  context.restore();
}

function maskLayer(context, scene, view, scale, colours) {
  const keep = scene.maskMeans === 'keep';
  if (!scene.mask.some((value) => value)) return;
  context.save();
  eachCell(scene, view, (index, x, y, width, height) => {
    if (!keep && scene.mask[index]) {
      context.globalAlpha = 0.42;
      context.fillStyle = colours.mask;
      context.fillRect(x, y, width, height);
    } else if (keep && !scene.mask[index]) {
      context.globalAlpha = 0.82;
      openTile(context, colours, x, y, width, height);
    }
  });
  context.globalAlpha = 1;
  const outline = outlineOf(scene.mask, scene.grid);
  context.lineCap = 'square';
  context.strokeStyle = colours.panel;
  context.lineWidth = 4 / scale;
  context.stroke(outline);
  context.strokeStyle = colours.mask;
  context.lineWidth = 2 / scale;
  context.stroke(outline);
  context.restore();
}

/** The less a cell fits, the more it is covered; a dot tells the least fitting ones apart without colour. */
function surpriseTiles(context, scene, view, colours) {
  context.save();
  eachCell(scene, view, (index, x, y, width, height) => {
    const strength = scene.surprise[index];
    if (strength < 0.05) return;
    context.globalAlpha = 0.8 * strength;
    context.fillStyle = colours.ember;
    context.fillRect(x, y, width, height);
    if (strength < 0.6) return;
    context.globalAlpha = 1;
    context.fillStyle = colours.panel;
    context.beginPath();
    context.arc(x + width / 2, y + height / 2, width * 0.13, 0, 7);
    context.fill();
  });
  context.restore();
}

function pinDots(context, scene, scale, colours) {
  for (const index of scene.pins.keys()) {
    const f = scene.grid.factor;
    context.beginPath();
    context.arc((index % scene.grid.w + 0.5) * f, (Math.floor(index / scene.grid.w) + 0.5) * f, Math.min(0.16 * f, 6 / scale), 0, 7);
    context.fillStyle = colours.ember;
    context.strokeStyle = colours.panel;
    context.lineWidth = 2 / scale;
    context.fill();
    context.stroke();
  }
}

function paintUnseen(context, scene) {
  const { factor: f, w, left = 0, top = 0 } = scene.grid;
  for (const [cell, token] of scene.unseen) {
    const [r, g, b] = scene.codeColours[token];
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(left + (cell % w) * f, top + Math.floor(cell / w) * f, f, f);
  }
}

/** The photograph around the picture; dimmed beyond its box. */
function surroundings(context, { photo, extent }, colours) {
  const { area, doc, cells, scale, original } = photo;
  const { box } = area;
  context.save();
  context.scale(1 / scale, 1 / scale);
  context.translate(-box.x, -box.y);
  paintPhoto(context, area, { live: { doc, cells }, original });
  context.globalAlpha = 0.55;
  context.fillStyle = colours.paper;
  context.beginPath();
  context.rect(0, 0, area.photo.width, area.photo.height);
  context.rect(box.x, box.y, extent.width * scale, extent.height * scale);
  context.fill('evenodd');
  context.restore();
}

/** view: the picture pixels in sight {left, top, right, bottom}. blend: 0 the picture, 1 its codes. grid: how dark cell borders are, 0 none. */
export function paintScene(context, scene, view, scale, { blend = 0, grid = 0, alone = false, crisp = false } = {}) {
  const colours = palette();
  const { extent, at } = scene;
  if (scene.photo && !alone) surroundings(context, scene, colours);
  const sharp = scene.photo?.sharp && !alone; // the photograph itself lies in the box already
  context.save();
  context.beginPath();
  context.rect(extent.left, extent.top, extent.width, extent.height);
  context.clip();
  context.fillStyle = scene.image ? '#fff' : colours.tile;
  if (!sharp) context.fillRect(extent.left, extent.top, extent.width, extent.height);
  context.imageSmoothingEnabled = !crisp && scale < 24;
  context.imageSmoothingQuality = 'high';
  if (scene.image && !sharp) context.drawImage(scene.image, at.x, at.y, at.width, at.height);
  if (scene.base && !scene.image) context.drawImage(scene.base.image, scene.base.x, scene.base.y);
  if (blend > 0) codeTiles(context, scene, view, scale, blend, colours);
  if (scene.open) {
    context.globalAlpha = scene.guessed ? 0.3 : 1;
    eachCell(scene, view, (index, x, y, width, height) => scene.open[index] && openTile(context, colours, x, y, width, height));
    context.globalAlpha = 1;
    if (scene.unseen && scene.codeColours) paintUnseen(context, scene);
    context.strokeStyle = colours.ember;
    context.lineWidth = Math.max(1.5 / scale, scene.grid.factor * 0.09);
    const { factor: f, w, left = 0, top = 0 } = scene.grid;
    const inset = context.lineWidth / 2;
    for (const index of scene.fresh) context.strokeRect(left + (index % w) * f + inset, top + Math.floor(index / w) * f + inset, f - 2 * inset, f - 2 * inset);
  }
  if (grid) gridLines(context, scene, view, scale, colours, grid);
  if (scene.surprise) surpriseTiles(context, scene, view, colours);
  if (scene.mask) maskLayer(context, scene, view, scale, colours);
  if (scene.pins) pinDots(context, scene, scale, colours);
  context.restore();
  context.strokeStyle = colours.lineStrong;
  context.lineWidth = 1 / scale;
  context.strokeRect(extent.left, extent.top, extent.width, extent.height);
}

/** The cells that a tool would touch, and the keyboard's cell. */
export function paintCells(context, grid, cells, scale, strong) {
  const mask = new Uint8Array(grid.h * grid.w);
  for (const index of cells) mask[index] = 1;
  const outline = outlineOf(mask, grid);
  const colours = palette();
  context.lineCap = 'square';
  context.strokeStyle = colours.panel;
  context.lineWidth = (strong ? 5 : 3) / scale;
  context.stroke(outline);
  context.strokeStyle = strong ? colours.ember : colours.ink;
  context.lineWidth = (strong ? 2.5 : 1.25) / scale;
  context.stroke(outline);
}

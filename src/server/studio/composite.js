/** Lays a decode over a picture in some cells only, fading out over half a cell around them. */
import { blankCanvas } from './pictures.js';

/** cells: indices of the grid {h, w, factor}. Out: a new canvas of the base's size. */
export function laidOver(base, decoded, cells, grid) {
  const f = grid.factor;
  const fade = Math.max(1, f / 2);
  const mask = blankCanvas(base.width, base.height);
  const maskContext = mask.getContext('2d');
  maskContext.filter = `blur(${fade / 2}px)`;
  for (const index of cells) maskContext.fillRect((index % grid.w) * f - fade / 2, Math.floor(index / grid.w) * f - fade / 2, f + fade, f + fade);
  maskContext.filter = 'none';
  for (const index of cells) maskContext.fillRect((index % grid.w) * f, Math.floor(index / grid.w) * f, f, f);
  maskContext.globalCompositeOperation = 'source-in';
  maskContext.drawImage(decoded, 0, 0);
  const out = blankCanvas(base.width, base.height);
  const context = out.getContext('2d');
  context.drawImage(base, 0, 0);
  context.drawImage(mask, 0, 0);
  return out;
}

/** A piece on a canvas: where it is grabbed, how it moves and is cut, how it looks. Everything in whole cells. */
import { palette } from '../palette.js';

const kReach = 11; // CSS pixels beside an edge that take hold of it

export const pieceAt = (pieces, { x, y }) =>
  pieces.findLast(({ from, to }) => x >= to[0] && y >= to[1] && x < to[0] + from[2] && y < to[1] + from[3]) ?? null;

/** The edge of the piece that a point takes hold of, or null. */
export function edgeAt({ from: [, , width, height], to: [left, top] }, { x, y }, scale) {
  const reach = Math.min(kReach / scale, Math.min(width, height) / 3);
  const within = (value, low, high) => value > low - reach && value < high + reach;
  if (within(y, top, top + height)) {
    if (Math.abs(x - left) < reach) return 'left';
    if (Math.abs(x - left - width) < reach) return 'right';
  }
  if (within(x, left, left + width)) {
    if (Math.abs(y - top) < reach) return 'top';
    if (Math.abs(y - top - height) < reach) return 'bottom';
  }
  return null;
}

const snap = (value, factor) => Math.round(value / factor) * factor;
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

export function movedPiece(piece, dx, dy, factor, canvas) {
  const [, , width, height] = piece.from;
  const to = [
    clamp(snap(piece.to[0] + dx, factor), 0, Math.max(0, Math.floor((canvas.width - width) / factor) * factor)),
    clamp(snap(piece.to[1] + dy, factor), 0, Math.max(0, Math.floor((canvas.height - height) / factor) * factor)),
  ];
  return { ...piece, to };
}

/** An edge is moved: what the piece shows of its picture changes, the rest stays where it is. */
export function resizedPiece(piece, edge, dx, dy, factor) {
  const [x, y, width, height] = piece.from;
  const [left, top] = piece.to;
  if (edge === 'left') {
    const d = clamp(snap(dx, factor), -Math.min(x, left), width - factor);
    return { ...piece, from: [x + d, y, width - d, height], to: [left + d, top] };
  }
  if (edge === 'top') {
    const d = clamp(snap(dy, factor), -Math.min(y, top), height - factor);
    return { ...piece, from: [x, y + d, width, height - d], to: [left, top + d] };
  }
  if (edge === 'right') return { ...piece, from: [x, y, clamp(snap(width + dx, factor), factor, Math.max(factor, Math.floor((piece.image.width - x) / factor) * factor)), height] };
  return { ...piece, from: [x, y, width, clamp(snap(height + dy, factor), factor, Math.max(factor, Math.floor((piece.image.height - y) / factor) * factor))] };
}

export const paintPiece = (context, { image, from, to }) => context.drawImage(image, ...from, ...to, from[2], from[3]);

/** Its outline, and the grips of a chosen one. */
export function paintOutline(context, { from: [, , width, height], to }, scale, selected, hovered) {
  const colours = palette();
  context.lineWidth = (selected ? 2.5 : 1) / scale;
  context.strokeStyle = selected || hovered ? colours.accent : colours.lineStrong;
  context.strokeRect(to[0], to[1], width, height);
  if (!selected) return;
  const long = 20 / scale;
  const thick = 6 / scale;
  const grips = [[to[0], to[1] + height / 2, thick, long], [to[0] + width, to[1] + height / 2, thick, long], [to[0] + width / 2, to[1], long, thick], [to[0] + width / 2, to[1] + height, long, thick]];
  for (const [x, y, w, h] of grips) {
    context.beginPath();
    context.roundRect(x - w / 2, y - h / 2, w, h, 3 / scale);
    context.fillStyle = colours.panel;
    context.fill();
    context.lineWidth = 1.5 / scale;
    context.stroke();
  }
}

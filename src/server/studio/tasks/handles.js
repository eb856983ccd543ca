/** The handles on the four sides of a canvas: where they lie, how they are taken hold of, how they look. Everything in picture pixels. */
import { palette } from '../palette.js';

export const sides = ['left', 'right', 'top', 'bottom'];
const kReach = 20; // CSS pixels around a handle that still take it

/** In the middle of each side of a rectangle, `out` pixels beyond it. */
export function handlesOf({ left, top, width, height }, out = 0) {
  const [x, y] = [left + width / 2, top + height / 2];
  return {
    left: { x: left - out, y, cursor: 'ew' }, right: { x: left + width + out, y, cursor: 'ew' },
    top: { x, y: top - out, cursor: 'ns' }, bottom: { x, y: top + height + out, cursor: 'ns' },
  };
}

/** The side whose handle a point takes hold of, or null. scale: CSS pixels a picture pixel */
export function handleAt(handles, point, scale) {
  let found = null;
  for (const side of sides) {
    const distance = Math.hypot(handles[side].x - point.x, handles[side].y - point.y) * scale;
    if (distance < kReach && (!found || distance < found.distance)) found = { side, distance };
  }
  return found?.side ?? null;
}

export function paintHandles(context, handles, near, scale) {
  const colours = palette();
  for (const side of sides) {
    const upright = side === 'left' || side === 'right';
    const [width, height] = upright ? [10 / scale, 34 / scale] : [34 / scale, 10 / scale];
    context.beginPath();
    context.roundRect(handles[side].x - width / 2, handles[side].y - height / 2, width, height, 5 / scale);
    context.fillStyle = near === side ? colours.accent : colours.panel;
    context.fill();
    context.strokeStyle = colours.accent;
    context.lineWidth = 2 / scale;
    context.stroke();
  }
}

/** Where the stage looks: CSS pixel = scale * picture pixel + offset. Plain values, no page. */
const kMost = 96; // CSS pixels a picture's pixel can grow to
const kLeast = 0.02;

export const toPicture = (camera, x, y) => ({ x: (x - camera.x) / camera.scale, y: (y - camera.y) / camera.scale });

export const panned = (camera, dx, dy) => ({ ...camera, x: camera.x + dx, y: camera.y + dy });

/** Zoomed by a factor; what lies under (x, y) CSS pixels stays there. */
export function zoomed(camera, factor, x, y) {
  const scale = Math.max(kLeast, Math.min(kMost, camera.scale * factor));
  const ratio = scale / camera.scale;
  return { scale, x: x - (x - camera.x) * ratio, y: y - (y - camera.y) * ratio };
}

/** The extent {left, top, width, height} in the middle of a view of this size, with a margin (CSS pixels). */
export function fitted(extent, viewWidth, viewHeight, margin) {
  const room = (length) => Math.max(20, length - 2 * margin);
  const scale = Math.max(kLeast, Math.min(kMost, room(viewWidth) / extent.width, room(viewHeight) / extent.height));
  return {
    scale,
    x: viewWidth / 2 - (extent.left + extent.width / 2) * scale,
    y: viewHeight / 2 - (extent.top + extent.height / 2) * scale,
  };
}

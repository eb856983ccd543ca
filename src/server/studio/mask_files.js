/** The mask as a file, out and in: white where it is painted, of the document's size. */
import { store } from './store.js';
import { announce, complain } from './announce.js';
import { countSet } from './cells.js';
import { change } from './edits.js';
import { download } from './export.js';
import { canvasOf, maskPicture } from './pictures.js';
import { t } from './words.js';

export function downloadMask() {
  const { doc, mask } = store.get().edit;
  if (!doc) return;
  download({ url: maskPicture(mask, doc, doc.width, doc.height).toDataURL('image/png'), name: `${doc.name}-mask.png` });
}

/** Painted where the picture is mostly light, cell by cell; a picture of any size is laid over the document. */
export function maskOfPicture(canvas, { h, w }) {
  const { data } = canvas.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
  const mask = new Uint8Array(h * w);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    let light = 0, count = 0;
    for (let py = Math.floor((y * canvas.height) / h); py < Math.ceil(((y + 1) * canvas.height) / h); py++)
      for (let px = Math.floor((x * canvas.width) / w); px < Math.ceil(((x + 1) * canvas.width) / w); px++, count++) {
        const k = 4 * (py * canvas.width + px);
        if (data[k] + data[k + 1] + data[k + 2] > 382) light++;
      }
    mask[y * w + x] = light * 2 > count ? 1 : 0;
  }
  return mask;
}

/** Asks for a file and paints what is white in it. */
export function openMask() {
  const input = document.getElementById('mask-file');
  input.onchange = async () => {
    const [file] = input.files;
    input.value = '';
    if (!file) return;
    try {
      const mask = maskOfPicture(await canvasOf(file), store.get().edit.doc);
      change({ mask });
      announce(t('{count} cells are painted', { count: countSet(mask) }));
    } catch (error) {
      complain(error);
    }
  };
  input.click();
}

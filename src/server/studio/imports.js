/** Pictures into the page: the file chooser, dropping, pasting. */
import { store } from './store.js';
import { takeIn } from './documents.js';
import { draggedInside } from './export.js';
import { toast } from './announce.js';
import { offerRecipe } from './recipe.js';
import { taskOf } from './tasks/index.js';
import { t } from './words.js';

const nameOf = (file) => (file.name || t('Pasted picture')).replace(/\.[a-z0-9]+$/i, '');

export const choosePictures = () => document.getElementById('file').click();

/** Pictures from the clipboard by a button; Ctrl-V works without it. */
export async function pastePicture() {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((name) => name.startsWith('image/'));
      if (type) return takeIn(await item.getType(type), t('Pasted picture'));
    }
    toast(t('There is no picture in the clipboard.'));
  } catch {
    toast(t('The browser keeps the clipboard closed to buttons. Press Ctrl-V (or Command-V) instead.'));
  }
  return undefined;
}

async function takeAll(files) {
  const pictures = [...files].filter((file) => file.type.startsWith('image/'));
  if (!pictures.length) {
    toast(t('That is no picture. PNG, JPEG and WebP files can be opened.'));
    return;
  }
  for (const picture of taskOf(store.get()).takePicture ? pictures : pictures.slice(0, 1)) await takeIn(picture, nameOf(picture));
  if (pictures.length === 1) await offerRecipe(pictures[0]);
}

export function startImports(hint, input) {
  input.addEventListener('change', async () => {
    await takeAll(input.files);
    input.value = '';
  });
  document.addEventListener('paste', (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    takeAll(event.clipboardData.files);
  });
  const wanted = (event) => event.dataTransfer && (event.dataTransfer.types.includes('Files') || draggedInside(event));
  document.addEventListener('dragover', (event) => {
    if (!wanted(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) hint.hidden = true;
  });
  document.addEventListener('dragend', () => { hint.hidden = true; });
  document.addEventListener('drop', async (event) => {
    hint.hidden = true;
    if (!wanted(event)) return;
    event.preventDefault();
    const inside = draggedInside(event);
    if (inside) await takeIn(inside.blob, inside.name.replace(/\.png$/, ''));
    else await takeAll(event.dataTransfer.files);
  });
}

/** Pictures and words out of the page: download, drag out, clipboard. */
import { announce, complain, toast } from './announce.js';
import { t } from './words.js';

const kInternal = 'application/x-tessera-picture';
let dragged = null; // what is dragged inside the page: {blob, name}

export function download({ url, name }) {
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  announce(t('{name} downloaded', { name }));
}

/** Lets an element be dragged: out of the window as a file, within it as a picture. */
export function offerDrag(element, picture) {
  element.draggable = true;
  element.addEventListener('dragstart', (event) => {
    const { blob, url, name } = picture();
    dragged = { blob, name };
    event.dataTransfer.effectAllowed = 'copy';
    event.dataTransfer.setData(kInternal, name);
    event.dataTransfer.setData('DownloadURL', `image/png:${name}:${url}`);
    event.dataTransfer.setData('text/uri-list', url);
  });
  element.addEventListener('dragend', () => { dragged = null; });
}

export const draggedInside = (event) => (event.dataTransfer?.types.includes(kInternal) ? dragged : null);

/** copied: what is said then. */
export async function copyText(text, copied) {
  try {
    await navigator.clipboard.writeText(text);
    toast(copied);
  } catch {
    // Without a secure context there is no clipboard: the old way still works.
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (done) toast(copied);
    else complain(new Error(`${t('The browser does not let this page copy.')} ${text}`));
  }
}

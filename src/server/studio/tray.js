/** The results of the job in a row, beside the picture they came from. */
import { store } from './store.js';
import { el, iconButton, replaceKeepingFocus } from './dom.js';
import { adopt } from './adopt.js';
import { select } from './job_runner.js';
import { offerDrag } from './export.js';
import { t } from './words.js';

function thumb(label, pressed, image, click, badge) {
  return el('button', { type: 'button', class: 'thumb', 'aria-pressed': String(pressed), 'aria-label': label, title: label, 'data-key': `thumb-${badge ?? 'original'}`, on: { click } }, image,
    badge ? el('span', { class: 'badge', 'aria-hidden': 'true' }, badge) : null);
}

function small(canvas) {
  const copy = el('canvas', { width: canvas.width, height: canvas.height, 'aria-hidden': 'true' });
  copy.getContext('2d').drawImage(canvas, 0, 0);
  return copy;
}

export function startTray(dock, tray) {
  let built = '';
  let pictured = null; // the picture in the first place
  store.on(['job', 'shown', 'sheet', 'edit'], (state) => {
    const { job, shown, sheet, edit } = state;
    dock.hidden = !job || job.phase === 'cancelled' || job.phase === 'failed';
    if (dock.hidden) { built = ''; return; }
    dock.dataset.shown = shown;
    tray.hidden = job.phase !== 'done';
    if (tray.hidden) return;
    const key = [job.id, job.results.length, job.selected, shown, sheet, Boolean(edit.doc)].join();
    if (key === built && pictured === edit.doc?.image) return;
    built = key;
    pictured = edit.doc?.image;
    const before = edit.doc ? thumb(t('The picture'), shown === 'picture', small(edit.doc.image), () => store.set({ shown: 'picture', sheet: false })) : null;
    const results = job.results.map((result, k) => {
      const image = el('img', { src: result.url, alt: '', draggable: 'true' });
      const words = t('Result {number} of {count}', { number: k + 1, count: job.results.length });
      const element = thumb(words, shown === 'result' && !sheet && k === job.selected, image, () => select(k), String(k + 1));
      element.addEventListener('dblclick', () => adopt(k));
      offerDrag(element, () => ({ blob: result.blob, url: result.url, name: `${job.task}-${result.seed ?? job.request.seed}-${k + 1}.png` }));
      return element;
    });
    replaceKeepingFocus(tray, ...[before, job.results.length > 1 ? iconButton('sheet', t('All results side by side (S)'), () => store.set({ shown: 'result', sheet: true }), { 'aria-pressed': String(sheet), 'data-key': 'sheet' }) : null, ...results].filter(Boolean));
  });
}

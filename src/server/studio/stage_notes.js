/** What is said on the stage: the empty state, which result is shown, the cell under the pointer. */
import { store } from './store.js';
import { el, button, iconButton, replaceKeepingFocus } from './dom.js';
import { adoptShown } from './adopt.js';
import { firstView } from './first_view.js';
import { isBusy } from './job_runner.js';
import { onPaint, placeOf, stageSize } from './stage.js';
import { sceneOf } from './scene.js';
import { downloadShown } from './downloads.js';
import { showGrid } from './xy_grid.js';
import { t } from './words.js';

export function startStageNotes({ stage, empty, shown, label }) {
  let drawn = '';
  store.on(['task', 'edit', 'job', 'shown', 'capabilities', 'card', 'model', 'tool'], (state, names) => {
    const scene = sceneOf(state);
    empty.hidden = Boolean(scene) || !state.capabilities;
    const key = `${state.task} ${state.model}`;
    if (!empty.hidden && (key !== drawn || names.has('card') || names.has('capabilities'))) {
      drawn = key;
      replaceKeepingFocus(empty, firstView(state));
      empty.querySelector(':scope > div > .icon')?.classList.add('mosaic');
    }
    stage.setAttribute('aria-label', scene ? t('{name}, {rows} by {columns} cells', { name: scene.name, rows: scene.grid.h, columns: scene.grid.w }) : t('No picture yet'));
  });

  let noted = '';
  store.on(['job', 'shown', 'sheet', 'edit'], (state) => {
    const { job } = state;
    shown.hidden = state.shown !== 'result' || state.sheet || job?.phase !== 'done';
    const key = shown.hidden ? '' : [job.id, job.selected, Boolean(state.edit.doc), state.xy?.key].join();
    if (key === noted) return;
    noted = key;
    if (shown.hidden) return;
    replaceKeepingFocus(shown, ...[
      el('span', { class: 'number' }, job.count > 1 ? [el('span', { class: 'roomy' }, `${job.title} `), t('{number} of {count}', { number: job.selected + 1, count: job.count })] : job.title),
      button(t('Use this'), adoptShown, { icon: 'use', class: 'small primary-soft', 'data-key': 'use' }),
      iconButton('download', t('Download'), downloadShown, { class: 'small' }),
      job.cell && state.xy?.key === job.cell.key ? iconButton('xy', t('Back to the grid'), () => showGrid(true), { class: 'small', 'data-key': 'to-grid' }) : null,
      state.edit.doc ? iconButton('close', t('Back to the picture'), () => store.set({ shown: 'picture', sheet: false }), { class: 'small' }) : null].filter(Boolean));
  });

  onPaint((scene) => {
    const { hover } = store.get();
    label.hidden = !hover || !scene || !scene.fits || hover.y >= scene.grid.h || hover.x >= scene.grid.w || isBusy(store.get().job) || store.get().sheet;
    if (label.hidden) return;
    const index = hover.y * scene.grid.w + hover.x;
    const token = scene.tokens?.[index];
    label.textContent = [t('row {row}', { row: hover.y + 1 }), t('column {column}', { column: hover.x + 1 }), token === undefined ? '' : token < 0 ? t('open') : t('code {code}', { code: token })].filter(Boolean).join(' · ');
    const place = placeOf(hover);
    const half = (placeOf({ x: hover.x + 1, y: hover.y }).x - place.x) / 2;
    const { width, height } = stageSize();
    const left = place.x + half + 12;
    const top = place.y + half + 12;
    label.style.transform = `translate(${Math.round(Math.max(6, Math.min(left, width - 190)))}px, ${Math.round(Math.max(6, Math.min(top, height - 34)))}px)`;
  });
}

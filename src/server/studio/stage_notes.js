/** What is said on the stage: the empty state, which result is shown, the cell under the pointer. */
import { store } from './store.js';
import { el, button, iconButton } from './dom.js';
import { adoptShown } from './adopt.js';
import { chooseTask } from './navigation.js';
import { choosePictures, pastePicture } from './imports.js';
import { isBusy } from './job_runner.js';
import { onPaint, placeOf, stageSize } from './stage.js';
import { sceneOf } from './scene.js';
import { icon } from './icons.js';
import { taskOf } from './tasks/index.js';
import { download } from './export.js';

function emptyWords(state) {
  const task = taskOf(state);
  if (task.id === 'generate') {
    return el('div', {}, icon('sheet'), el('h2', {}, 'From nothing'),
      el('p', { class: 'muted' }, 'Generate pictures and choose one, or open your own and paint over what should change.'),
      el('div', { class: 'row' }, button('Open a picture', choosePictures, { icon: 'open' })));
  }
  return el('div', {}, icon('sheet'), el('h2', {}, 'No picture yet'), el('p', { class: 'muted' }, 'Open one, paste one, drop one here, or let the model make one.'),
    el('div', { class: 'row' }, button('Open a picture', choosePictures, { icon: 'open' }), button('Paste', pastePicture, { icon: 'paste' }), button('Generate', () => chooseTask('generate'), { icon: 'generate' })));
}

export function startStageNotes({ stage, empty, shown, label }) {
  store.on(['task', 'edit', 'job', 'shown', 'capabilities'], (state) => {
    const scene = sceneOf(state);
    empty.hidden = Boolean(scene) || !state.capabilities;
    if (!empty.hidden) {
      empty.replaceChildren(emptyWords(state));
      empty.querySelector('.icon').classList.add('mosaic');
    }
    stage.setAttribute('aria-label', scene ? `${scene.name}, ${scene.grid.h} by ${scene.grid.w} cells` : 'No picture yet');
  });

  store.on(['job', 'shown', 'sheet'], (state) => {
    const { job } = state;
    shown.hidden = state.shown !== 'result' || state.sheet || job?.phase !== 'done';
    if (shown.hidden) return;
    const result = job.results[job.selected];
    shown.replaceChildren(...[
      el('span', { class: 'number' }, job.count > 1 ? `${job.title} ${job.selected + 1} of ${job.count}` : job.title),
      button('Use this', adoptShown, { icon: 'use', class: 'small primary-soft' }),
      iconButton('download', 'Download', () => download({ url: result.url, name: `${job.task}-${job.request.seed}-${job.selected + 1}.png` }), { class: 'small' }),
      state.edit.doc ? iconButton('close', 'Back to the picture', () => store.set({ shown: 'picture', sheet: false }), { class: 'small' }) : null].filter(Boolean));
  });

  onPaint((scene) => {
    const { hover } = store.get();
    label.hidden = !hover || !scene || !scene.fits || hover.y >= scene.grid.h || hover.x >= scene.grid.w || isBusy(store.get().job) || store.get().sheet;
    if (label.hidden) return;
    const index = hover.y * scene.grid.w + hover.x;
    const token = scene.tokens?.[index];
    label.textContent = `row ${hover.y + 1} · column ${hover.x + 1}${token === undefined ? '' : token < 0 ? ' · open' : ` · code ${token}`}`;
    const place = placeOf(hover);
    const half = (placeOf({ x: hover.x + 1, y: hover.y }).x - place.x) / 2;
    const { width, height } = stageSize();
    const left = place.x + half + 12;
    const top = place.y + half + 12;
    label.style.transform = `translate(${Math.round(Math.max(6, Math.min(left, width - 190)))}px, ${Math.round(Math.max(6, Math.min(top, height - 34)))}px)`;
  });
}

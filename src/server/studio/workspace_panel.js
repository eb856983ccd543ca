/** The side panel of the server's jobs: search, stars, names, what is under way, and what was made. */
import { store } from './store.js';
import { el, button, iconButton, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { complain } from './announce.js';
import { download, offerDrag } from './export.js';
import { again, copyCommand, copyLink, reopen, show } from './history.js';
import { factsOf, when } from './history_panel.js';
import { chooseTask } from './navigation.js';
import { timeWords } from './player.js';
import { cancelShelved, entryOf, followJob, isUnderWay, loadShelf, openProject, removeJob, rename, saveProject, searchShelf, showStarred, star, taskOfRequest, thumbnail, titleOf } from './workspace.js';
import { t } from './words.js';

let renaming = null; // id of the job whose name is being written
let fresh = false; // its field has not been shown yet
const kShown = 9; // pictures of a job

const whole = (job, then) => entryOf(job).then(then).catch(complain);
const nameOf = (job, k) => `${job.verb}-${job.request.seed ?? 0}-${k + 1}.png`;

/** A picture is asked for when it comes into view. */
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    const { job, k } = target.dataset;
    thumbnail(job, Number(k)).then(({ url }) => { target.src = url; }, () => {});
  }
});

function pictureButton(job, k) {
  const { width, height } = job.results[k];
  const image = el('img', { alt: '', width: Math.round((52 * width) / height), height: 52, draggable: 'true', 'data-job': job.id, 'data-k': k });
  const element = el('button', { type: 'button', 'aria-label': t('{title}, picture {number}: show', { title: job.name ?? titleOf(job), number: k + 1 }), 'data-key': `${job.id}-picture-${k}`, on: { click: () => whole(job, (entry) => show(entry, k)) } }, image);
  let held = null;
  thumbnailLater(image, (value) => { held = value; });
  offerDrag(element, () => ({ blob: held?.blob, url: held?.url ?? '', name: nameOf(job, k) }));
  return element;
}

function thumbnailLater(image, then) {
  seen.observe(image);
  image.addEventListener('load', () => thumbnail(image.dataset.job, Number(image.dataset.k)).then(then, () => {}), { once: true });
}

function nameLine(job) {
  if (renaming !== job.id) return el('h3', { dir: 'auto' }, job.name ?? titleOf(job));
  const done = (keep) => {
    if (renaming !== job.id) return;
    renaming = null;
    if (keep && input.value.trim() !== (job.name ?? '')) rename(job, input.value);
    else store.set({ shelf: { ...store.get().shelf } });
  };
  const input = el('input', { class: 'input', 'aria-label': t('Name of {title}', { title: titleOf(job) }), value: job.name ?? '', maxlength: 80, placeholder: titleOf(job), dir: 'auto', 'data-key': `${job.id}-name-field`,
    on: { keydown: (event) => { if (event.key === 'Enter') done(true); else if (event.key === 'Escape') { event.stopPropagation(); done(false); } }, blur: () => done(true) } });
  if (fresh) queueMicrotask(() => { input.focus(); input.select(); }); // it is in the page then
  fresh = false;
  return input;
}

/** What stands below the pictures of a job that has not ended well, or not yet. */
function stateLine(job) {
  if (job.state === 'queued') return el('p', { class: 'facts' }, job.position > 0 ? t('Waiting, {position} before this', { position: job.position }) : t('Waiting for its turn'));
  if (job.state === 'running') {
    const bar = el('span', {});
    bar.style.transform = `scaleX(${job.steps ? job.step / job.steps : 0})`;
    const { step, steps } = job;
    const words = !steps ? t('Starting') : job.eta_seconds >= 0.5 ? t('Step {step} of {steps}, {time} left', { step, steps, time: timeWords(job.eta_seconds) }) : t('Step {step} of {steps}', { step, steps });
    return el('div', { class: 'entry-progress' }, el('div', { class: 'meter', role: 'progressbar', 'aria-label': t('Progress of {title}', { title: titleOf(job) }), 'aria-valuemin': 0, 'aria-valuemax': job.steps || 1, 'aria-valuenow': job.step }, bar), el('p', { class: 'facts number' }, words));
  }
  if (job.state === 'failed') return el('p', { class: 'facts bad', dir: 'auto' }, job.error ?? t('It failed.'));
  return job.state === 'cancelled' ? el('p', { class: 'facts' }, t('Cancelled')) : null;
}

function actions(job, state) {
  const act = (name, label, run, attributes = {}) => iconButton(name, label, run, { class: 'small', 'data-key': `${job.id}-${name}`, ...attributes });
  const task = taskOfRequest({ verb: job.verb, ...job.request }, null);
  const onStage = state.live?.id === job.id;
  const done = job.state === 'done';
  return el('div', { class: 'actions' },
    isUnderWay(job) && !onStage ? button(t('Follow'), () => followJob(job), { icon: 'follow', class: 'small quiet', 'data-key': `${job.id}-follow` }) : null,
    isUnderWay(job) ? button(t('Cancel'), () => cancelShelved(job), { icon: 'stop', class: 'small quiet', 'data-key': `${job.id}-cancel` }) : null,
    done ? button(t('Another seed'), () => whole(job, again), { icon: 'dice', class: 'small quiet', 'data-key': `${job.id}-again` }) : null,
    done && task !== 'fill' ? act('restore', t('Set it up again'), () => whole(job, reopen)) : null,
    done ? act('download', job.results.length > 1 ? t('Download all') : t('Download'), () => whole(job, ({ pictures }) => pictures.forEach(({ url }, k) => download({ url, name: nameOf(job, k) })))) : null,
    done && job.command ? act('terminal', t('Copy as command line'), () => whole(job, copyCommand)) : null,
    done ? act('link', t('Copy a link that reproduces it'), () => whole(job, copyLink)) : null,
    act('name', t('Give it a name'), () => {
      renaming = job.id;
      fresh = true;
      store.set({ shelf: { ...store.get().shelf } });
    }),
    act('trash', t('Remove'), () => removeJob(job)));
}

function row(job, state) {
  const shown = job.results.slice(0, kShown);
  const starButton = iconButton('star', job.starred ? t('Take the star away') : t('Give it a star'), () => star(job), { class: 'small star', 'aria-pressed': String(job.starred), 'data-key': `${job.id}-star` });
  return el('li', { class: 'entry', 'data-job': job.id },
    el('div', { class: 'entry-head' }, nameLine(job), el('time', { datetime: new Date(job.created * 1000).toISOString() }, when(job.created * 1000)), starButton),
    shown.length ? el('div', { class: 'pictures' }, shown.map((_, k) => pictureButton(job, k)), job.results.length > kShown ? el('span', { class: 'facts' }, t('and {count} more', { count: job.results.length - kShown })) : null) : null,
    job.request.prompt ? el('p', { class: 'entry-prompt', dir: 'auto' }, job.request.prompt) : null,
    stateLine(job),
    job.state === 'done' ? el('p', { class: 'facts number' }, factsOf(job)) : null,
    actions(job, state));
}

function emptyNote({ shelf }) {
  if (shelf.phase === 'failed') return el('div', { class: 'empty-note', role: 'alert' }, icon('warn'), el('p', {}, shelf.error), button(t('Try again'), () => loadShelf(), { class: 'small', 'data-key': 'shelf-retry' }));
  if (shelf.phase !== 'ready') return el('div', { class: 'empty-note' }, el('p', {}, t('Looking …')));
  if (shelf.words) return el('div', { class: 'empty-note' }, icon('search'), el('p', {}, t('Nothing has these words.')), button(t('Show all'), () => { document.getElementById('shelf-search').value = ''; searchShelf(''); }, { class: 'small', 'data-key': 'shelf-all' }));
  if (shelf.starred) return el('div', { class: 'empty-note' }, icon('star'), el('p', {}, t('Nothing has a star yet. What has one is kept, however full the disk becomes.')), button(t('Show all'), () => showStarred(false), { class: 'small', 'data-key': 'shelf-all' }));
  return el('div', { class: 'empty-note' }, icon('restore'), el('p', {}, t('What you make is kept by the server, and is here again from any tab or device.')), button(t('Generate'), () => chooseTask('generate'), { icon: 'generate', class: 'small', 'data-key': 'shelf-generate' }));
}

/** The line that stays while the list changes: one types in it. */
function searchLine() {
  return el('div', { class: 'shelf-line', role: 'search' },
    el('input', { type: 'search', id: 'shelf-search', class: 'input', 'aria-label': t('Search what was made'), placeholder: t('Search'), value: store.get().shelf.words, dir: 'auto', on: { input: ({ target }) => searchShelf(target.value) } }),
    iconButton('star', t('Starred ones alone'), () => showStarred(!store.get().shelf.starred), { id: 'shelf-starred', class: 'star' }));
}

function foot({ shelf }) {
  const file = el('input', { type: 'file', accept: '.zip,application/zip', hidden: true, on: { change: ({ target }) => { if (target.files[0]) openProject(target.files[0]); target.value = ''; } }, id: 'project-file' });
  return el('div', { class: 'history-foot' },
    shelf.next ? button(t('Show more'), () => loadShelf({ more: true }), { class: 'small', 'data-key': 'shelf-more' }) : null,
    shelf.jobs.some(({ state }) => state === 'done') ? button(t('Save as project'), saveProject, { icon: 'download', class: 'small quiet', 'data-key': 'shelf-save' }) : null,
    button(t('Open a project'), () => file.click(), { icon: 'upload', class: 'small quiet', 'data-key': 'shelf-open' }), file);
}

export function startWorkspacePanel(panel) {
  const list = el('div', { class: 'shelf' });
  panel.replaceChildren(el('h2', { class: 'visually-hidden' }, t('History')), searchLine(), list);
  const draw = (state) => {
    document.getElementById('shelf-starred').setAttribute('aria-pressed', String(state.shelf.starred));
    if (renaming && document.activeElement?.dataset.key === `${renaming}-name-field`) return; // it is being written
    replaceKeepingFocus(list, () => {
      const now = store.get();
      return [now.shelf.jobs.length ? el('ol', { class: 'history' }, now.shelf.jobs.map((job) => row(job, now))) : emptyNote(now), foot(now)];
    });
  };
  let seenJob = '';
  store.on(['shelf', 'panel', 'live'], (state, names) => {
    const job = state.live?.id ?? '';
    if (state.panel === 'history' && (names.has('shelf') || names.has('panel') || job !== seenJob)) draw(state);
    seenJob = job;
  });
  draw(store.get());
}

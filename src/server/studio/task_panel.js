/** The side panel of the task: what it does, its fields, the sampling options; below it the button that runs it. */
import { store } from './store.js';
import { commitEntry, el, button, fold, iconButton, isTypedIn, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { optionField, refreshForm } from './form.js';
import { bell, isTold } from './notify.js';
import { factWords } from './option_words.js';
import { presetsForm } from './presets.js';
import { pressRun } from './queue.js';
import { gridForm } from './xy_panel.js';
import { t } from './words.js';
import { furtherOptions, optionOf } from './fields.js';
import { cancelJob, isBusy, missing, showLive } from './job_runner.js';
import { progressWords, timeWords } from './player.js';
import { lacksPicture, taskOf } from './tasks/index.js';

const kMore = ['sampler', 'steps', 'context_guidance', 'top_p', 'top_k', 'typical_p'];
const kWords = ['prompt', 'negative_prompt', 'class', 'cfg_scale']; // what is to be seen is not a default to go back to

const moreOptions = (state) => [...kMore, ...furtherOptions(state, taskOf(state))];
const changedOptions = (state) => [...moreOptions(state), 'temperature'].filter((name) => state.options[name] !== undefined);

function backToDefaults() {
  const back = changedOptions(store.get());
  store.set({ options: Object.fromEntries(Object.entries(store.get().options).filter(([name]) => !back.includes(name))) });
  refreshForm();
}

function content(state) {
  const task = taskOf(state);
  const own = state.capabilities && !lacksPicture(state) ? (task.form?.(state) ?? []).filter(Boolean) : [];
  const field = (name) => optionField(state, task, name);
  const words = kWords.map(field).filter(Boolean);
  const more = fold('more-options', t('More options'), moreOptions(state).map(field).filter(Boolean),
    changedOptions(state).length ? button(t('Back to the defaults'), backToDefaults, { icon: 'undo', class: 'small', 'data-key': 'defaults' }) : null);
  return [
    el('div', { class: 'panel-head' }, el('h2', {}, task.label), el('p', {}, task.lead)),
    words.length ? el('div', { class: 'fields' }, words) : null,
    own.length ? el('div', { class: 'fields' }, own) : null,
    el('div', { class: 'fields' }, field('count'), field('seed'), field('temperature'), more, state.capabilities ? gridForm(state) : null, presetsForm()),
  ];
}

/** Finishes an entry that is being typed, then runs. */
export function runNow() {
  commitEntry();
  return pressRun();
}

const rateWords = (job) => (job.progress?.rate ? t('{rate} /s', { rate: job.progress.rate.toFixed(1) }) : '');

/** What the buttons of the bar depend on while a job runs. */
function busyKey(state) {
  if (!isBusy(state.live)) return '';
  const task = taskOf(state);
  return [state.job?.request === state.live.request && state.shown === 'result', missing(state), task.runLabel(state, optionOf(state, 'count', task)), isTold()].join();
}

function runBar(state) {
  const task = taskOf(state);
  const { job, live } = state;
  if (isBusy(live)) {
    return [
      el('div', { class: 'run-status number' }, el('span', { id: 'run-progress' }, progressWords(live)), el('span', { id: 'run-rate' }, rateWords(live))),
      el('div', { class: 'run-line' },
        button(t('Cancel'), cancelJob, { icon: 'stop', class: 'stop large', 'data-key': 'run' }),
        job?.request === live.request && state.shown === 'result' ? null : iconButton('follow', t('Show the job that runs'), showLive, { class: 'large', 'data-key': 'show-live' }),
        button(t('Queue'), runNow, { icon: 'plus', class: 'large', 'aria-label': t('Queue this too: {label}', { label: task.runLabel(state, optionOf(state, 'count', task)) }), 'aria-disabled': missing(state) ? 'true' : null, 'data-key': 'queue-add', title: t('Ctrl-Enter') }),
        bell()),
    ];
  }
  const why = missing(state);
  const count = optionOf(state, 'count', task);
  const sure = state.options.temperature === 0 ? factWords('temperature', 0) : state.options.top_k === 1 ? factWords('top_k', 1) : '';
  const same = count > 1 && sure && !why ? t('At {option} all of them can come out alike.', { option: sure }) : '';
  const status = why || same || (lacksPicture(state) ? '' : task.status?.(state) ?? '');
  return [
    el('div', { class: 'run-status number' }, el('span', { id: 'run-why' }, status), job?.phase === 'done' && job.seconds ? el('span', {}, t('last took {time}', { time: timeWords(job.seconds) })) : null),
    el('div', { class: 'run-line' }, button(task.runLabel(state, count), runNow, { icon: task.icon, class: 'primary', 'aria-disabled': why ? 'true' : null, 'data-key': 'run', 'aria-describedby': 'run-why', title: t('Ctrl-Enter') })),
  ];
}

export function startTaskPanel(panel, bar) {
  let owed = false; // a redraw, when the number is typed
  const form = () => {
    owed = isTypedIn(panel);
    if (!owed) replaceKeepingFocus(panel, () => content(store.get()));
  };
  panel.addEventListener('focusout', () => { if (owed) form(); });
  let seen = null;
  let busy = '';
  store.on(['task', 'model', 'capabilities', 'form', 'edit'], (state, names) => {
    const { doc, pieces, canvas } = state.edit;
    const parts = [doc?.image, pieces, canvas];
    const same = seen && parts.every((part, k) => part === seen[k]);
    seen = parts;
    if (same && !['task', 'model', 'capabilities', 'form'].some((name) => names.has(name))) return;
    form();
  });
  store.on(['edit', 'task', 'taskOptions', 'options', 'job', 'live', 'queue', 'capabilities', 'model', 'shown'], (state) => {
    const said = document.getElementById('run-progress');
    const now = busyKey(state);
    if (said && isBusy(state.live) && now === busy) { // the buttons stay
      said.textContent = progressWords(state.live);
      document.getElementById('run-rate').textContent = rateWords(state.live);
    } else replaceKeepingFocus(bar, () => runBar(store.get()));
    busy = now;
  });
}

export function offlineNotice(message, retry) {
  return el('div', { class: 'notice bad', role: 'alert' }, icon('warn'), el('div', {}, el('p', {}, message), button(t('Try again'), retry, { class: 'small' })));
}

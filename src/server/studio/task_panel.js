/** The side panel of the task: what it does, its fields, the sampling options; below it the button that runs it. */
import { store } from './store.js';
import { el, button, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { optionField, refreshForm } from './form.js';
import { optionOf } from './fields.js';
import { cancelJob, isBusy, missing, runTask } from './job_runner.js';
import { progressWords, timeWords } from './player.js';
import { taskOf } from './tasks/index.js';

const kMore = ['sampler', 'steps', 'context_guidance', 'top_p', 'top_k', 'typical_p'];
let moreOpen = false;

function content(state) {
  const task = taskOf(state);
  const own = state.capabilities && (!task.needsPicture || state.edit.doc) ? (task.form?.(state) ?? []).filter(Boolean) : [];
  const field = (name) => optionField(state, task, name);
  const words = ['prompt', 'negative_prompt', 'class', 'cfg_scale'].map(field).filter(Boolean);
  const more = el('details', { class: 'more', open: moreOpen, on: { toggle: (event) => { moreOpen = event.target.open; } } },
    el('summary', { 'data-key': 'more' }, 'More options'),
    el('div', {}, kMore.map(field).filter(Boolean),
      Object.keys(state.options).length ? button('Back to the defaults', () => { store.set({ options: {} }); refreshForm(); }, { icon: 'undo', class: 'small' }) : null));
  return [
    el('div', { class: 'panel-head' }, el('h2', {}, task.label), el('p', {}, task.lead)),
    words.length ? el('div', { class: 'fields' }, words) : null,
    own.length ? el('div', { class: 'fields' }, own) : null,
    el('div', { class: 'fields' }, field('count'), field('seed'), field('temperature'), more),
  ];
}

/** Finishes an entry that is being typed, then runs. */
export function runNow() {
  document.activeElement?.closest?.('input, textarea')?.blur();
  return runTask();
}

function runBar(state) {
  const task = taskOf(state);
  const { job } = state;
  if (isBusy(job)) {
    return [
      el('div', { class: 'run-status number' }, el('span', {}, progressWords(job)), el('span', {}, job.progress?.rate ? `${job.progress.rate.toFixed(1)} /s` : '')),
      el('div', { class: 'run-line' }, button('Cancel', cancelJob, { icon: 'stop', class: 'stop large', 'data-key': 'run' })),
    ];
  }
  const why = missing(state);
  const count = optionOf(state, 'count', task);
  const status = why || (task.needsPicture && !state.edit.doc ? '' : task.status?.(state) ?? '');
  return [
    el('div', { class: 'run-status number' }, el('span', { id: 'run-why' }, status), job?.phase === 'done' && job.seconds ? el('span', {}, `last took ${timeWords(job.seconds)}`) : null),
    el('div', { class: 'run-line' }, button(task.runLabel(state, count), runNow, { icon: task.icon, class: 'primary', disabled: Boolean(why), 'data-key': 'run', 'aria-describedby': 'run-why', title: 'Ctrl-Enter' })),
  ];
}

export function startTaskPanel(panel, bar) {
  const form = (state) => replaceKeepingFocus(panel, ...content(state));
  let seen = null;
  store.on(['task', 'model', 'capabilities', 'form', 'edit'], (state, names) => {
    const { doc, borders, pieces, canvas } = state.edit;
    const parts = [doc?.image, borders, pieces, canvas];
    const same = seen && parts.every((part, k) => part === seen[k]);
    seen = parts;
    if (same && !['task', 'model', 'capabilities', 'form'].some((name) => names.has(name))) return;
    form(state);
  });
  store.on(['edit', 'task', 'taskOptions', 'options', 'job', 'capabilities', 'model'], (state) => replaceKeepingFocus(bar, ...runBar(state)));
}

export function offlineNotice(message, retry) {
  return el('div', { class: 'notice bad', role: 'alert' }, icon('warn'), el('div', {}, el('p', {}, message), button('Try again', retry, { class: 'small' })));
}

/** What waits in the queue, above the button that runs: a line, and the list behind it with order and removal. */
import { store } from './store.js';
import { el, button, iconButton, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { cancelJob } from './job_runner.js';
import { emptyQueue, goOn, leave, shift } from './queue.js';
import { t } from './words.js';

let open = false;

function row(item, k, all) {
  const act = (name, label, run, disabled = false) => iconButton(name, `${label}: ${item.title}`, run, { class: 'small', disabled, 'data-key': `${item.key}-${name}` });
  return el('li', {},
    el('span', { class: 'queue-place number' }, String(k + 1)),
    el('span', { class: 'queue-words' }, el('span', {}, item.title), el('span', { class: 'facts', dir: 'auto' }, item.facts)),
    act('up', t('Earlier'), () => shift(item.key, -1), k === 0), act('down', t('Later'), () => shift(item.key, 1), k === all.length - 1), act('close', t('Take out'), () => leave(item.key)));
}

function nowRow({ live, queue }) {
  if (!live) return null;
  const of = queue.current && queue.current.jobs.length > 1 ? t('{done} of {count}', { done: queue.current.begun, count: queue.current.jobs.length }) : '';
  return el('li', { class: 'queue-now' }, icon('play'), el('span', { class: 'queue-words' }, el('span', {}, queue.current?.title ?? live.title), el('span', { class: 'facts number' }, of || t('running'))),
    iconButton('stop', `${t('Cancel')}: ${queue.current?.title ?? live.title}`, cancelJob, { class: 'small', 'data-key': 'queue-cancel' }));
}

function content(state) {
  const { queue } = state;
  const { waiting, held } = queue;
  return [
    held ? el('div', { class: 'notice bad', role: 'alert' }, icon('warn'), el('div', {}, el('p', {}, t('The queue waits. {why}', { why: held })), button(t('Go on'), goOn, { class: 'small', 'data-key': 'queue-on' }))) : null,
    button(t('{count} waiting', { count: waiting.length }), () => { open = !open; draw(); }, { icon: open ? 'down' : 'up', class: 'small quiet', 'aria-expanded': String(open), 'aria-controls': 'queue-list', 'data-key': 'queue-head' }),
    open ? el('ol', { id: 'queue-list' }, nowRow(state), waiting.map(row)) : null,
    open && waiting.length > 1 ? button(t('Empty the queue'), emptyQueue, { icon: 'trash', class: 'small quiet', 'data-key': 'queue-empty' }) : null,
  ];
}

let panel = null;
function draw() {
  const state = store.get();
  panel.hidden = state.queue.waiting.length === 0;
  if (!panel.hidden) replaceKeepingFocus(panel, () => content(store.get()));
}

export const toggleQueue = () => { open = !open; draw(); };

export function startQueuePanel(element) {
  panel = element;
  let running = null;
  store.on(['queue', 'live'], (state, names) => {
    if (!names.has('queue') && state.live?.request === running) return; // progress is told elsewhere
    running = state.live?.request;
    draw();
  });
  draw();
}

/** Which task and which panel: the rail and the tabs. */
import { store } from './store.js';
import { el } from './dom.js';
import { icon } from './icons.js';
import { adopt, adoptShown } from './adopt.js';
import { announce } from './announce.js';
import { isBusy } from './job_runner.js';
import { lacksPicture, tasks, taskById } from './tasks/index.js';
import { rightToLeft, t } from './words.js';

/** The chosen result goes along to a task that works on a picture: the one on the stage, or any where there is no picture yet. */
export function chooseTask(id) {
  const task = taskById(id);
  const state = store.get();
  if (task.needsPicture && id !== state.task && state.job?.phase === 'done') {
    if (state.shown === 'result') adoptShown();
    else if (lacksPicture(state, task)) adopt(state.job.selected);
  }
  if (state.xy?.shown) store.set({ xy: { ...state.xy, shown: false } });
  const busy = isBusy(state.job);
  store.set({ task: id, panel: 'task', shown: busy ? state.shown : 'picture', sheet: busy ? state.sheet : false, ...(task.usesMask && (state.tool === 'inspect' || state.tool === 'hand') ? { tool: 'brush' } : {}) });
  announce(`${task.label}. ${task.lead}`);
}

export function startRail(list) {
  const buttons = new Map(tasks.map((task, k) => [task.id, el('button', { type: 'button', title: `${task.lead} (${k + 1})`, on: { click: () => chooseTask(task.id) } }, icon(task.icon), el('span', {}, task.label))]));
  list.replaceChildren(...[...buttons.values()].map((button) => el('li', {}, button)));
  const show = ({ task }) => buttons.forEach((button, id) => (id === task ? button.setAttribute('aria-current', 'true') : button.removeAttribute('aria-current')));
  store.on(['task'], show);
  show(store.get());
}

export function startTabs(list) {
  const names = { task: t('Task'), cell: t('Cell'), history: t('History') };
  const buttons = Object.entries(names).map(([id, label]) => el('button', {
    type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': `panel-${id}`, on: { click: () => store.set({ panel: id }) },
  }, label));
  list.replaceChildren(...buttons);
  list.addEventListener('keydown', (event) => {
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowRight: rightToLeft ? -1 : 1, ArrowLeft: rightToLeft ? 1 : -1 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
  const show = ({ panel }) => {
    for (const button of buttons) {
      const chosen = button.id === `tab-${panel}`;
      button.setAttribute('aria-selected', String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      document.getElementById(button.getAttribute('aria-controls')).hidden = !chosen;
    }
  };
  store.on(['panel'], show);
  show(store.get());
}

/** The part of the form that makes a grid of two options, and the grid itself over the stage. */
import { store } from './store.js';
import { el, button, fold, iconButton, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { choiceField, refreshForm, wordsField } from './form.js';
import { resultScene } from './scene.js';
import { paintScene } from './painting.js';
import { axesOf, isLines, labelOf, typedValues } from './xy_axes.js';
import { axisNames, cellWords, kNone, makeGrid, openCell, phaseOf, planOf, showGrid } from './xy_grid.js';
import { downloadGrid } from './xy_export.js';
import { t } from './words.js';

const countLine = (plan) => plan.fault ?? t('{count} pictures', { count: plan.count });

function tell() {
  const plan = planOf(store.get());
  const line = document.getElementById('xy-count');
  line.textContent = countLine(plan);
  line.classList.toggle('bad', Boolean(plan.fault));
  document.querySelector('[data-key="xy-make"]').setAttribute('aria-disabled', String(Boolean(plan.fault)));
}

function sideFields(state, side, label, axes) {
  const name = axisNames(state)[side];
  const choices = side === 'y' ? [...axes, [kNone, t('One row')]] : axes;
  return [
    choiceField(state, 'xy', side, { label, choices, initial: name, then: refreshForm }),
    name === kNone ? null : wordsField(state, 'xy', `${side}-${name}`, {
      label: isLines(state, name) ? t('{label}, one a line', { label: labelOf(state, name) }) : t('{label}, with commas between', { label: labelOf(state, name) }),
      initial: typedValues(side, name, state), then: tell, rows: isLines(state, name) ? 3 : 1,
    }),
  ];
}

/** A part of every task's form. */
export function gridForm(state) {
  const axes = axesOf(state);
  const names = axisNames(state);
  const known = (name) => name === kNone || axes.some(([axis]) => axis === name);
  if (!known(names.x) || !known(names.y)) { // of another task or model
    const first = axes.map(([axis]) => axis).filter((axis) => axis !== 'seed');
    const taskOptions = { ...state.taskOptions, xy: { ...state.taskOptions.xy, x: known(names.x) ? names.x : first.find((axis) => axis !== names.y), y: known(names.y) ? names.y : 'seed' } };
    store.set({ taskOptions });
    return gridForm({ ...state, taskOptions });
  }
  const plan = planOf(state);
  return fold('xy-form', t('Grid of two options'),
      sideFields(state, 'x', t('Columns'), axes), sideFields(state, 'y', t('Rows'), axes),
      el('p', { class: plan.fault ? 'field-help bad' : 'field-help', id: 'xy-count', role: 'status' }, countLine(plan)),
      el('div', { class: 'hint-row' },
        button(t('Make the grid'), makeGrid, { icon: 'xy', class: 'small', 'aria-disabled': String(Boolean(plan.fault)), 'data-key': 'xy-make' }),
        state.xy ? button(t('Show the last'), () => showGrid(true), { icon: 'sheet', class: 'small quiet', 'data-key': 'xy-show' }) : null));
}

const phaseWords = { waiting: t('waits'), running: t('is being made'), failed: t('failed'), left: t('not made'), done: '' };

function cellButton(state, index) {
  const { xy } = state;
  const phase = phaseOf(state, index);
  const { entry, about, error } = xy.cells[index];
  const label = [cellWords(xy, index), phaseWords[phase], error].filter(Boolean).join(', ');
  const face = phase === 'done' ? el('img', { src: entry.pictures[0].url, alt: '' })
    : phase === 'running' ? el('canvas', { 'aria-hidden': 'true' }) : el('span', { class: 'xy-open' }, phase === 'failed' ? icon('warn') : null);
  const element = el('button', { type: 'button', class: 'xy-cell', 'aria-label': label, title: label, 'aria-disabled': phase === 'done' ? null : 'true', 'data-phase': phase, 'data-key': `xy-${index}`, on: { click: () => openCell(index) } }, face);
  element.style.aspectRatio = `${about.width} / ${about.height}`;
  return el('td', {}, element);
}

function tableOf(state) {
  const { x, y, cells } = state.xy;
  const across = x.values.length;
  const head = el('thead', {}, el('tr', {}, y ? el('th', { scope: 'col', class: 'xy-corner' }, y.label) : null, x.values.map((value) => el('th', { scope: 'col', dir: 'auto' }, String(value)))));
  const rows = (y?.values ?? [null]).map((value, row) => el('tr', {},
    y ? el('th', { scope: 'row', dir: 'auto' }, String(value)) : null, Array.from({ length: across }, (_, column) => cellButton(state, row * across + column))));
  const table = el('table', {}, head, el('tbody', {}, rows));
  table.style.setProperty('--xy-cells', String(across));
  table.dataset.cells = cells.length;
  return table;
}

function paintRunning(panel, { live }) {
  const canvas = panel.querySelector('[data-phase="running"] canvas');
  if (!canvas || !live) return;
  const width = Math.max(1, Math.round(canvas.getBoundingClientRect().width * devicePixelRatio));
  const scale = width / live.width;
  if (canvas.width !== width) Object.assign(canvas, { width, height: Math.max(1, Math.round(live.height * scale)) });
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  paintScene(context, resultScene(live, 0), { left: 0, top: 0, right: live.width, bottom: live.height }, scale, { alone: true });
}

export function startGridPanel(panel) {
  let built = '';
  const draw = (state) => {
    const { xy } = state;
    panel.hidden = !xy?.shown;
    if (panel.hidden) { built = ''; return; }
    const phases = xy.cells.map((_, index) => phaseOf(state, index));
    const key = `${xy.key} ${phases.join()}`;
    if (key !== built) {
      built = key;
      const done = phases.filter((phase) => phase === 'done').length;
      const { scrollLeft = 0, scrollTop = 0 } = panel.querySelector('.xy-scroll') ?? {};
      replaceKeepingFocus(panel, () => {
        const now = store.get();
        return [
          el('header', {}, el('div', {}, el('h2', {}, now.xy.title), el('p', { class: 'facts number', dir: 'auto' }, [t('{done} of {count}', { done, count: phases.length }), now.xy.facts].filter(Boolean).join(' · '))),
            el('div', { class: 'xy-buttons' }, iconButton('download', t('Download the grid as one picture'), downloadGrid, { disabled: done === 0, 'data-key': 'xy-download' }), iconButton('close', t('Close the grid'), () => showGrid(false), { 'data-key': 'xy-close' }))),
          el('div', { class: 'xy-scroll', tabindex: 0, role: 'region', 'aria-label': now.xy.title }, tableOf(now)),
        ];
      });
      Object.assign(panel.querySelector('.xy-scroll'), { scrollLeft, scrollTop });
    }
    paintRunning(panel, state);
  };
  store.on(['xy', 'queue', 'live'], draw);
  panel.addEventListener('keydown', (event) => {
    const all = [...panel.querySelectorAll('.xy-cell')];
    const at = all.indexOf(document.activeElement);
    const across = store.get().xy?.x.values.length ?? 1;
    const step = { ArrowRight: document.dir === 'rtl' ? -1 : 1, ArrowLeft: document.dir === 'rtl' ? 1 : -1, ArrowDown: across, ArrowUp: -across }[event.key];
    if (at < 0 || !step || !all[at + step]) return;
    event.preventDefault();
    all[at + step].focus();
  });
}

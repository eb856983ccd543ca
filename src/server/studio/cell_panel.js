/** The side panel of a cell. */
import { store } from './store.js';
import { el, button, replaceKeepingFocus } from './dom.js';
import { icon } from './icons.js';
import { change } from './edits.js';
import { choiceField, rangeField, refreshForm } from './form.js';
import { canAdaptPainted, chooseCode } from './inspector.js';
import { paletteContent } from './code_palette.js';
import { isBusy } from './job_runner.js';
import { currentScene } from './stage.js';
import { taskOf, taskOption } from './tasks/index.js';
import { announce } from './announce.js';
import { countSet } from './cells.js';
import { t } from './words.js';

const percent = (probability) => (probability >= 0.1 ? `${Math.round(probability * 100)}%` : probability >= 0.001 ? `${(probability * 100).toFixed(1)}%` : '< 0.1%');

/** The picture around the cell, five cells across. */
function surroundings(cell) {
  const scene = currentScene();
  const canvas = el('canvas', { width: 112, height: 112, 'aria-hidden': 'true' });
  if (!scene?.image) return canvas;
  const f = scene.grid.factor * (scene.image.width / scene.at.width);
  const context = canvas.getContext('2d');
  context.drawImage(scene.image, (cell.x - 2) * f, (cell.y - 2) * f, 5 * f, 5 * f, 0, 0, 112, 112);
  context.strokeStyle = '#fff';
  context.lineWidth = 5;
  context.strokeRect(44.8, 44.8, 22.4, 22.4);
  context.strokeStyle = '#1c1b18';
  context.lineWidth = 2;
  context.strokeRect(44.8, 44.8, 22.4, 22.4);
  return canvas;
}

function candidateButton(candidate, present, most, busy) {
  const bar = el('span', {});
  bar.style.transform = `scaleX(${candidate.probability / most})`;
  const now = candidate.token === present;
  return el('li', {}, el('button', {
    type: 'button', disabled: busy, 'aria-pressed': String(now), 'data-key': `code-${candidate.token}`,
    'aria-label': [t('Code {code}', { code: candidate.token }), percent(candidate.probability), now ? t('there now') : ''].filter(Boolean).join(', '), on: { click: () => chooseCode(candidate.token) },
  }, candidate.image ? el('img', { src: candidate.image, alt: '' }) : null,
  el('span', { class: 'line number' }, el('span', {}, String(candidate.token)), el('span', { class: 'muted' }, percent(candidate.probability))),
  el('span', { class: 'bar-track' }, bar)));
}

/** Every cell of this code is painted; the mask tasks then change or keep them all. */
function paintAlike(token) {
  const { edit } = store.get();
  const mask = edit.mask.map((set, cell) => (set || edit.doc.tokens[cell] === token ? 1 : 0));
  change({ mask });
  if (!taskOf(store.get()).usesMask) store.set({ task: 'change' });
  announce(t('{count} cells are painted', { count: countSet(mask) }));
}

function content(state) {
  const { inspect, edit } = state;
  if (state.tool === 'codes' || state.tool === 'pick') return paletteContent(state);
  if (!inspect) {
    return [el('h2', { class: 'visually-hidden' }, t('Cell')), el('div', { class: 'empty-note' }, icon('inspect'), el('p', {}, t('Choose the magnifier and click a cell: the codes that the model finds likely there are listed here.')))];
  }
  const { cell, token, candidates, error } = inspect;
  const busy = isBusy(state.live);
  const doc = edit.doc;
  const pinned = state.shown === 'picture' && doc && edit.pins.has(cell.y * doc.w + cell.x);
  const adapt = taskOption(state, 'cell', 'adapt', 'neighbours');
  const choices = [['neighbours', t('The neighbours')], ...(canAdaptPainted(state) ? [['painted', t('The painted cells')]] : []), ['all', t('Everything not chosen by hand')], ['nothing', t('Nothing')]];
  return [
    el('h2', { class: 'visually-hidden' }, t('Cell')),
    el('div', { class: 'cell-head' }, surroundings(cell), el('dl', { class: 'cell-facts number' },
      el('dt', {}, t('Row')), el('dd', {}, String(cell.y + 1)), el('dt', {}, t('Column')), el('dd', {}, String(cell.x + 1)), el('dt', {}, t('Code')), el('dd', {}, token === null ? '…' : String(token)))),
    el('div', { class: 'fields' },
      choiceField(state, 'cell', 'adapt', { label: t('What adapts to your choice'), choices, initial: 'neighbours', then: refreshForm }),
      adapt === 'neighbours' ? rangeField(state, 'cell', 'radius', { label: t('Reach'), min: 1, max: 8, step: 1, initial: 2, show: (value) => t('{count} cells', { count: value }) }) : null,
      token !== null && doc?.tokens && state.shown === 'picture' ? button(t('Paint cells like this one'), () => paintAlike(token), { icon: 'brush', class: 'small', 'data-key': 'alike' }) : null,
      pinned ? button(t('Let this code go'), () => { const pins = new Map(edit.pins); pins.delete(cell.y * doc.w + cell.x); change({ pins }); }, { icon: 'close', class: 'small' }) : null),
    el('div', { class: 'fields' },
      el('h3', {}, t('Likely codes')),
      error ? el('p', { class: 'notice bad' }, icon('warn'), error) : null,
      candidates ? el('ol', { class: 'candidates' }, candidates.map((candidate) => candidateButton(candidate, token, Math.max(...candidates.map((other) => other.probability), 1e-9), busy))) : error ? null : el('p', { class: 'muted' }, t('Asking the model…'))),
  ];
}

export function startCellPanel(panel) {
  const draw = (state) => {
    if (state.panel === 'cell') replaceKeepingFocus(panel, ...content(state));
  };
  let busy = false;
  let pinned = false;
  store.on(['inspect', 'panel', 'form', 'edit', 'live', 'shown', 'tool', 'code', 'codebook'], (state, names) => {
    if ((state.tool === 'codes' || state.tool === 'pick') && !['panel', 'tool', 'code', 'codebook'].some((name) => names.has(name)) && state.edit.pins.size > 0 === pinned) return; // a stroke changes nothing here
    pinned = state.edit.pins.size > 0;
    const now = isBusy(state.live);
    if (['inspect', 'panel', 'form', 'edit', 'shown', 'tool', 'code', 'codebook'].some((name) => names.has(name)) || now !== busy) draw(state);
    busy = now;
  });
}


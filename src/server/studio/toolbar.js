/** The tools over the picture and the view below it. */
import { store } from './store.js';
import { el, iconButton, replaceKeepingFocus } from './dom.js';
import { canRedo, canUndo, redo, undo } from './edits.js';
import { clearMask, invertMask, kLargestBrush, setBrush } from './mask_tools.js';
import { fit, onPaint, zoom } from './stage.js';
import { taskOf } from './tasks/index.js';
import { loadTokens } from './documents.js';
import { announce } from './announce.js';

const tools = {
  brush: ['Brush', 'B'], eraser: ['Eraser', 'E'], rectangle: ['Rectangle', 'R'], lasso: ['Lasso', 'L'], inspect: ['Inspect a cell', 'I'], hand: ['Move the view', 'H'],
};

export function chooseTool(name) {
  store.set({ tool: name });
  announce(tools[name][0]);
}

const toolButton = (name, tool) => iconButton(name, `${tools[name][0]} (${tools[name][1]})`, () => chooseTool(name), { 'aria-pressed': String(tool === name), 'data-key': name });
const gap = () => el('span', { class: 'gap', 'aria-hidden': 'true' });

function content(state) {
  const mask = taskOf(state).usesMask;
  const masks = mask && Boolean(state.edit.doc);
  const size = el('input', { type: 'range', min: 1, max: kLargestBrush, step: 1, 'aria-label': 'Brush size in cells', 'data-key': 'size', on: { input: () => setBrush(Number(size.value)) } });
  size.value = state.brush;
  return [
    ...(mask ? [
      ...['brush', 'eraser', 'rectangle', 'lasso'].map((name) => toolButton(name, state.tool)), gap(),
      iconButton('invert', 'Invert what is painted (X)', invertMask, { disabled: !masks, 'data-key': 'invert' }),
      iconButton('clear', 'Clear what is painted (Delete)', clearMask, { disabled: !masks, 'data-key': 'clear' }),
      ...(state.tool === 'brush' || state.tool === 'eraser' ? [el('label', { class: 'brush-size number' }, size, el('span', {}, `${state.brush} ${state.brush === 1 ? 'cell' : 'cells'}`))] : []), gap(),
    ] : []),
    toolButton('inspect', state.tool), toolButton('hand', state.tool),
    el('span', { class: 'push' }),
    iconButton('undo', 'Undo (Ctrl-Z)', undo, { disabled: !canUndo(), 'data-key': 'undo' }),
    iconButton('redo', 'Redo (Ctrl-Shift-Z)', redo, { disabled: !canRedo(), 'data-key': 'redo' }),
  ];
}

export function setCompare(on) {
  if (store.get().compare !== on) store.set({ compare: on });
}

/** Held by pointer or key; let go anywhere. */
function compareButton() {
  const compare = iconButton('compare', 'Hold to compare with the original (C)', () => {}, {
    'aria-pressed': 'false',
    on: {
      pointerdown: (event) => { compare.setPointerCapture(event.pointerId); setCompare(true); },
      pointerup: () => setCompare(false), pointercancel: () => setCompare(false), blur: () => setCompare(false),
      keydown: (event) => { if (event.key === ' ' || event.key === 'Enter') { event.preventDefault(); setCompare(true); } },
      keyup: (event) => { if (event.key === ' ' || event.key === 'Enter') setCompare(false); },
      contextmenu: (event) => event.preventDefault(),
    },
  });
  return compare;
}

export function startToolbar(bar, viewButtons, blend) {
  store.on(['tool', 'brush', 'task', 'edit'], (state) => replaceKeepingFocus(bar, ...content(state)));

  const percent = el('span', { class: 'zoom number wide-only' }, '');
  const compare = compareButton();
  const grid = iconButton('grid', 'Cell borders (G)', () => store.set({ grid: !store.get().grid }), { 'aria-pressed': 'false' });
  viewButtons.append(compare, grid, el('span', { class: 'gap' }), iconButton('minus', 'Zoom out (-)', () => zoom(1 / 1.25)), percent, iconButton('plus', 'Zoom in (+)', () => zoom(1.25)), iconButton('fit', 'Fit to the window (0)', fit));
  store.on(['grid', 'compare'], (state) => {
    grid.setAttribute('aria-pressed', String(state.grid));
    compare.setAttribute('aria-pressed', String(state.compare));
  });
  onPaint((scene, scale) => {
    const text = scene ? `${Math.round(scale * 100)}%` : '';
    if (percent.textContent !== text) percent.textContent = text;
  });
  blend.addEventListener('input', () => {
    store.set({ blend: Number(blend.value) / 100 });
    const { doc } = store.get().edit;
    if (doc && !doc.tokens && store.get().blend > 0.3) loadTokens(doc, { asked: true }).catch(() => {});
  });
  store.on(['blend'], (state) => {
    blend.value = Math.round(state.blend * 100);
    blend.setAttribute('aria-valuetext', state.blend === 0 ? 'the picture' : state.blend === 1 ? 'the codes' : `${blend.value}% codes`);
  });
}

/** The tools over the picture and the view below it. */
import { store } from './store.js';
import { el, iconButton, replaceKeepingFocus } from './dom.js';
import { canRedo, canUndo, redo, undo } from './edits.js';
import { clearMask, invertMask, kLargestBrush, setBrush } from './mask_tools.js';
import { fit, onPaint, zoom } from './stage.js';
import { areaWords, scaleArea } from './area_tool.js';
import { downloadShown } from './downloads.js';
import { taskOf } from './tasks/index.js';
import { loadTokens, modelOf } from './documents.js';
import { swatch } from './code_palette.js';
import { announce } from './announce.js';
import { canSplit, setSplit, splitShown, toggleSplit } from './split.js';
import { t } from './words.js';

const tools = {
  area: [t('Work area'), 'A'], brush: [t('Brush'), 'B'], eraser: [t('Eraser'), 'E'], rectangle: [t('Rectangle'), 'R'], lasso: [t('Lasso'), 'L'], inspect: [t('Inspect a cell'), 'I'], codes: [t('Paint with codes'), 'K'], pick: [t('Take a code from the picture'), 'Y'], hand: [t('Move the view'), 'H'],
};

export function chooseTool(name) {
  store.set({ tool: name, ...(name === 'codes' ? { panel: 'cell' } : {}) });
  announce(tools[name][0]);
}

const toolButton = (name, tool) => iconButton(name, `${tools[name][0]} (${tools[name][1]})`, () => chooseTool(name), { 'aria-pressed': String(tool === name), 'data-key': name });
const gap = () => el('span', { class: 'gap', 'aria-hidden': 'true' });

const cellWords = (size) => t('{count} cells', { count: Number(size) });

function content(state) {
  const mask = taskOf(state).usesMask;
  const painting = state.tool === 'codes' || state.tool === 'pick';
  const masks = mask && Boolean(state.edit.doc);
  const size = el('input', { type: 'range', min: 1, max: kLargestBrush, step: 1, 'aria-label': t('Brush size in cells'), 'data-key': 'size', on: { input: () => { setBrush(Number(size.value)); across.textContent = cellWords(size.value); } } });
  size.value = state.brush;
  const across = el('span', {}, cellWords(state.brush));
  const { area } = state.edit;
  const placing = area && state.tool === 'area';
  const strip = [
    ...(area ? [toolButton('area', state.tool)] : []),
    ...(placing ? [
      iconButton('minus', t('Smaller work area (Shift Right)'), () => scaleArea(1 / 1.25), { 'data-key': 'area-smaller' }),
      iconButton('plus', t('Larger work area (Shift Left)'), () => scaleArea(1.25), { 'data-key': 'area-larger' }),
      el('span', { class: 'tool-words number' }, areaWords(area)),
    ] : []),
    ...(area ? [gap()] : []),
    ...(mask ? [
      ...['brush', 'eraser', 'rectangle', 'lasso'].map((name) => toolButton(name, state.tool)), gap(),
      iconButton('invert', t('Invert what is painted (X)'), invertMask, { disabled: !masks, 'data-key': 'invert' }),
      iconButton('clear', t('Clear what is painted (Delete)'), clearMask, { disabled: !masks, 'data-key': 'clear' }),
      ...(state.tool === 'brush' || state.tool === 'eraser' || painting ? [el('label', { class: 'brush-size number' }, size, across)] : []), gap(),
    ] : []),
    toolButton('inspect', state.tool), toolButton('codes', state.tool),
    ...(painting ? [toolButton('pick', state.tool), ...(mask ? [] : [el('label', { class: 'brush-size number' }, size, across)]), swatch(modelOf(state), state.code)] : []),
    toolButton('hand', state.tool),
  ];
  const end = [
    iconButton('download', t('Download the picture (D)'), downloadShown, { disabled: !state.edit.doc && state.job?.phase !== 'done', 'data-key': 'download' }),
    iconButton('undo', t('Undo (Ctrl-Z)'), undo, { disabled: !canUndo(), 'data-key': 'undo' }),
    iconButton('redo', t('Redo (Ctrl-Shift-Z)'), redo, { disabled: !canRedo(), 'data-key': 'redo' }),
  ];
  return [el('div', { class: 'tool-strip' }, strip), el('div', { class: 'tool-end' }, end)];
}

export function setCompare(on) {
  if (store.get().compare !== on) store.set({ compare: on });
}

/** Held by pointer or key; let go anywhere. */
function compareButton() {
  const compare = iconButton('compare', t('Hold to compare with the original (C)'), () => {}, {
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
  /** A strip that goes on beyond its end says so. */
  const markMore = () => {
    const strip = bar.querySelector('.tool-strip');
    if (strip) strip.dataset.more = String(Math.abs(strip.scrollLeft) + strip.clientWidth < strip.scrollWidth - 2);
  };
  bar.addEventListener('scroll', markMore, true);
  new ResizeObserver(markMore).observe(bar);
  let built = '';
  store.on(['tool', 'brush', 'task', 'edit', 'job', 'code', 'codebook'], (state, names) => {
    const { edit } = state;
    if (names.has('codebook')) built = '';
    const key = JSON.stringify([state.code, state.tool, state.brush, state.task, Boolean(edit.doc), edit.area?.box, canUndo(), canRedo(), state.job?.phase === 'done']);
    if (key === built) return;
    built = key;
    const scrolled = bar.querySelector('.tool-strip')?.scrollLeft ?? 0;
    replaceKeepingFocus(bar, ...content(state));
    const strip = bar.querySelector('.tool-strip');
    if (strip) strip.scrollLeft = scrolled;
    if (names.has('tool')) strip?.querySelector('[aria-pressed="true"]')?.scrollIntoView({ inline: 'nearest', block: 'nearest' });
    markMore();
  });

  const percent = el('span', { class: 'zoom number wide-only' }, '');
  const compare = compareButton();
  const grid = iconButton('grid', t('Cell borders (G)'), () => store.set({ grid: !store.get().grid }), { 'aria-pressed': 'false' });
  const crisp = iconButton('crisp', t('Pixels as squares (Q)'), () => store.set({ crisp: !store.get().crisp }), { 'aria-pressed': 'false', class: 'roomy-button' });
  const split = iconButton('split', t('Divide: the original on the left (J)'), toggleSplit, { 'aria-pressed': 'false' });
  const divider = el('input', { type: 'range', min: 0, max: 100, 'aria-label': t('Divide between the original and the picture'), on: { input: () => setSplit(Number(divider.value) / 100) } });
  const divided = el('label', { class: 'fade', hidden: true, dir: 'ltr' }, el('span', {}, t('Before')), divider, el('span', {}, t('After')));
  blend.parentElement.after(divided);
  store.on(['split', 'edit', 'job', 'shown', 'compare', 'task'], (state) => {
    split.disabled = !canSplit(state) && state.split === null;
    split.setAttribute('aria-pressed', String(state.split !== null));
    divided.hidden = !splitShown(state);
    blend.parentElement.hidden = splitShown(state);
    if (state.split !== null) divider.value = Math.round(state.split * 100);
  });
  viewButtons.append(compare, split, grid, crisp, el('span', { class: 'gap' }), iconButton('minus', t('Zoom out (-)'), () => zoom(1 / 1.25), { class: 'zoom-button' }), percent, iconButton('plus', t('Zoom in (+)'), () => zoom(1.25), { class: 'zoom-button' }), iconButton('fit', t('Fit to the window (0)'), fit));
  store.on(['grid', 'compare', 'crisp'], (state) => {
    crisp.setAttribute('aria-pressed', String(state.crisp));
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
    blend.setAttribute('aria-valuetext', state.blend === 0 ? t('the picture') : state.blend === 1 ? t('the codes') : t('{share}% codes', { share: blend.value }));
  });
}

/** Every command by key, and the page that lists them. */
import { store } from './store.js';
import { el, iconButton } from './dom.js';
import { redo, undo } from './edits.js';
import { adoptShown } from './adopt.js';
import { announce } from './announce.js';
import { choosePictures } from './imports.js';
import { areaKey, areaShown } from './area_tool.js';
import { canSplit, toggleSplit } from './split.js';
import { paintCell, pickCode } from './code_brush.js';
import { downloadShown } from './downloads.js';
import { inspectCell } from './inspector.js';
import { cancelJob, isBusy, select } from './job_runner.js';
import { clearMask, invertMask, setBrush, toggleCell } from './mask_tools.js';
import { stepBy, toggleGuess, togglePlaying } from './player.js';
import { currentScene, fit, pan, zoom } from './stage.js';
import { toggleQueue } from './queue_panel.js';
import { runNow } from './task_panel.js';
import { showGrid } from './xy_grid.js';
import { tasks, taskOf } from './tasks/index.js';
import { chooseTask } from './navigation.js';
import { chooseTool, setCompare } from './toolbar.js';
import { t } from './words.js';

const groups = {
  [t('Tasks')]: [['1 to 6', t('Choose a task')], ['Ctrl Enter', t('Run it, or queue it while a job runs')], ['Esc', t('Cancel, or back to the picture')], ['W', t('What waits in the queue')], ['T', t('The grid of options')], ['O', t('Open a picture')], ['Ctrl V', t('Paste a picture')]],
  [t('Cells')]: [['Arrows', t('Move over the cells')], ['Enter  Space', t('Mark or unmark a cell')], ['Shift Arrows', t('Mark while moving')], ['I', t('Inspect the cell')], ['X', t('Invert')], ['Delete', t('Clear')]],
  [t('Tools')]: [['A', t('Work area: arrows move it, Shift scales')], ['B  E  R  L', t('Brush, eraser, rectangle, lasso')], ['[  ]', t('Smaller, larger brush')], ['K', t('Paint with codes')], ['Y', t('Take a code from the picture')], ['Alt', t('Rectangle and lasso take away; codes are picked')], ['Ctrl Z', t('Undo')], ['Ctrl Shift Z', t('Redo')]],
  [t('View')]: [['Space drag', t('Pan')], ['Wheel  +  −', t('Zoom')], ['0', t('Fit')], ['V', t('Picture or codes')], ['G', t('Cell borders')], ['Q', t('Pixels as squares')], ['C', t('Hold: the original')], ['J', t('Divide: original and picture')], ['N', t('While it runs: the best guess of the whole')]],
  [t('Results')]: [['Page Up  Page Down', t('Previous, next')], ['S', t('All side by side')], ['U', t('Use as the picture')], ['D', t('Download')], ['P', t('Play the un-masking')], [',  .', t('One step back, on')]],
};

/** Names of keys that are words. */
const keyWords = { '1 to 6': t('1 to 6'), Arrows: t('Arrows'), 'Shift Arrows': t('Shift Arrows'), Space: t('Space'), 'Space drag': t('Space drag'), Wheel: t('Wheel') };

export function fillKeysDialog(dialog) {
  dialog.append(
    el('header', {}, el('h2', { id: 'keys-title' }, t('Keyboard')), iconButton('close', t('Close'), () => dialog.close())),
    el('div', { class: 'key-columns' }, Object.entries(groups).map(([title, keys]) => el('section', { class: 'key-group' }, el('h3', {}, title),
      el('dl', {}, keys.map(([key, words]) => el('div', {}, el('dt', {}, words), el('dd', {}, key.split('  ').flatMap((part, k) => [k ? ' ' : '', el('kbd', {}, keyWords[part] ?? part)])))))))),
  );
}

const cellWords = (scene, cell) => {
  const index = cell.y * scene.grid.w + cell.x;
  const { edit } = store.get();
  const words = [t('row {row}, column {column}', { row: cell.y + 1, column: cell.x + 1 })];
  if (scene.tokens) words.push(scene.tokens[index] < 0 ? t('open') : t('code {code}', { code: scene.tokens[index] }));
  if (scene.mask?.[index]) words.push(taskOf(store.get()).maskMeans === 'keep' ? t('stays') : t('will change'));
  if (scene.kind === 'picture' && edit.pins.has(index)) words.push(t('chosen by hand'));
  return words.join(', ');
};

function moveCursor(dx, dy, marking) {
  const scene = currentScene();
  if (!scene) return;
  const { cursor } = store.get();
  const moved = cursor.visible
    ? { y: Math.max(0, Math.min(scene.grid.h - 1, cursor.y + dy)), x: Math.max(0, Math.min(scene.grid.w - 1, cursor.x + dx)), visible: true }
    : { y: Math.min(cursor.y, scene.grid.h - 1), x: Math.min(cursor.x, scene.grid.w - 1), visible: true };
  store.set({ cursor: moved });
  if (marking && store.get().tool === 'codes' && scene.kind === 'picture') paintCell(moved, scene);
  else if (marking && canMark(scene)) {
    const value = store.get().tool === 'eraser' ? 0 : 1;
    if (store.get().edit.mask[moved.y * scene.grid.w + moved.x] !== value) toggleCell(moved, scene.grid);
  }
  queueMicrotask(() => announce(cellWords(currentScene() ?? scene, moved)));
}

const canMark = (scene) => scene?.kind === 'picture' && Boolean(taskOf(store.get()).usesMask);

/** Takes the code of a cell, and paints with it from now on. */
function pickAt(cell) {
  if (cell && pickCode(cell, currentScene())) chooseTool('codes');
  else chooseTool('pick');
}

/** Keys of the stage: they move over cells. */
function onStageKey(event) {
  const state = store.get();
  const scene = currentScene();
  if (event.ctrlKey || event.metaKey || event.altKey) {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (event.altKey && step) { pan(...step); return true; }
    return false;
  }
  if (areaShown(state)) return areaKey(event, state);
  if (taskOf(state).keys?.(event, state)) return true;
  const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (arrow) { moveCursor(...arrow, event.shiftKey); return true; }
  if (event.key === 'Home' || event.key === 'End') { moveCursor(event.key === 'Home' ? -scene?.grid.w : scene?.grid.w, 0, false); return true; }
  if (event.key !== 'Enter' && event.key !== ' ') return false;
  if (!scene) return false;
  if (!state.cursor.visible) {
    if (event.key === ' ') return false; // held, it pans
    moveCursor(0, 0, false);
    return true;
  }
  if (state.tool === 'inspect') inspectCell(state.cursor);
  else if (state.tool === 'codes' && scene.kind !== 'blank') paintCell(state.cursor, scene);
  else if (state.tool === 'pick') pickAt(state.cursor);
  else {
    if (scene.kind === 'result' && !adoptShown()) return true;
    if (!taskOf(state).usesMask) { inspectCell(state.cursor); return true; }
    const value = toggleCell(state.cursor, scene.grid);
    announce(`${value ? t('marked') : t('unmarked')}, ${t('row {row}, column {column}', { row: state.cursor.y + 1, column: state.cursor.x + 1 })}`);
  }
  return true;
}

function back() {
  const state = store.get();
  if (state.xy?.shown) showGrid(false);
  else if (isBusy(state.live)) cancelJob();
  else if (state.cursor.visible) store.set({ cursor: { ...state.cursor, visible: false } });
  else if (state.shown === 'result' && state.edit.doc) store.set({ shown: 'picture', sheet: false });
}

function nextResult(by) {
  const { job, shown, sheet } = store.get();
  if (job?.phase === 'done') select(shown === 'result' && !sheet ? (job.selected + by + job.count) % job.count : job.selected);
}

const plain = {
  a: () => { if (store.get().edit.area) chooseTool('area'); }, b: () => chooseTool('brush'), e: () => chooseTool('eraser'), r: () => chooseTool('rectangle'), l: () => chooseTool('lasso'), h: () => chooseTool('hand'),
  i: () => { const { cursor } = store.get(); chooseTool('inspect'); if (cursor.visible) inspectCell(cursor); },
  '[': () => setBrush(store.get().brush - 1), ']': () => setBrush(store.get().brush + 1), x: invertMask, Delete: clearMask, Backspace: clearMask,
  o: choosePictures, g: () => store.set({ grid: !store.get().grid }), v: () => store.set({ blend: store.get().blend > 0.5 ? 0 : 1 }), q: () => store.set({ crisp: !store.get().crisp }), c: () => setCompare(true), j: () => { if (store.get().split !== null || canSplit(store.get())) toggleSplit(); },
  0: fit, '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(1 / 1.25),
  PageDown: () => nextResult(1), PageUp: () => nextResult(-1), s: () => store.set({ shown: 'result', sheet: !store.get().sheet }), u: adoptShown, d: downloadShown,
  n: () => { if (isBusy(store.get().job)) toggleGuess(); },
  k: () => chooseTool('codes'), y: () => { const { cursor, hover } = store.get(); pickAt(cursor.visible ? cursor : hover); },
  w: toggleQueue, t: () => showGrid(!store.get().xy?.shown),
  p: togglePlaying, ',': () => stepBy(-1), '.': () => stepBy(1), Escape: back,
  '?': () => document.getElementById('keys-dialog').showModal(),
};
tasks.forEach((task, k) => { plain[k + 1] = () => chooseTask(task.id); });

function onKey(event) {
  if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key === 'Enter') { event.preventDefault(); runNow(); return; }
  const typing = event.target.closest?.('input:not([type="range"]):not([type="radio"]):not([type="checkbox"]), textarea, select');
  if (typing) return;
  if (command) {
    const key = event.key.toLowerCase();
    if (key !== 'z' && key !== 'y') return;
    event.preventDefault();
    const again = key === 'y' || event.shiftKey;
    const done = again ? redo() : undo();
    if (done) announce(again ? t('Done again') : t('Undone'));
    else announce(again ? t('Nothing to do again') : t('Nothing to undo'));
    return;
  }
  if (event.target.id === 'stage' && onStageKey(event)) { event.preventDefault(); return; }
  if (event.altKey) return;
  const onControl = event.target.closest?.('button, input, summary, a');
  if (onControl && ['Delete', 'Backspace', 'PageUp', 'PageDown', '-', '+'].includes(event.key) && event.target.type === 'range') return;
  const run = plain[event.key] ?? plain[event.key.toLowerCase()];
  if (!run) return;
  event.preventDefault();
  run();
}

export function startKeyboard() {
  document.addEventListener('keydown', onKey);
  document.addEventListener('keyup', (event) => { if (event.key.toLowerCase() === 'c') setCompare(false); });
  window.addEventListener('blur', () => setCompare(false));
}

/** A canvas larger than the model was trained for, seen through overlapping windows of its own size. */
import { modelOf } from '../documents.js';
import { windowStarts } from '../cells.js';
import { checkField, numberField, rangeField } from '../form.js';
import { el } from '../dom.js';
import { palette } from '../palette.js';
import { taskOption } from './index.js';
import { t } from '../words.js';

const sizeOf = (state) => {
  const model = modelOf(state);
  return {
    width: taskOption(state, 'wide', 'width', (model?.width ?? 64) * 3),
    height: taskOption(state, 'wide', 'height', model?.height ?? 64),
  };
};
const halfOf = (model) => Math.max(1, Math.floor((model?.grid?.[0] ?? 16) / 2));
const strideOf = (state) => taskOption(state, 'wide', 'stride', halfOf(modelOf(state)));
const random = (state) => taskOption(state, 'wide', 'random_windows', false);

/** Windows over a grid of h x w cells: [{x, y}] of their first cells. */
function windows(h, w, native, stride) {
  const tops = windowStarts(h, native[0], stride);
  const lefts = windowStarts(w, native[1], stride);
  return tops.flatMap((y) => lefts.map((x) => ({ x, y })));
}

function strokeWindow(context, window, native, factor, scale, inset) {
  context.beginPath();
  context.roundRect(window.x * factor + inset, window.y * factor + inset, native[1] * factor - 2 * inset, native[0] * factor - 2 * inset, 6 / scale);
  context.stroke();
}

export const wide = {
  id: 'wide', label: t('Wide'), icon: 'wide', verb: 'generate',
  lead: t('A canvas larger than the model was trained for. It is seen through windows that overlap; each cell is the mean of all that hold it.'),
  canvas: true, initial: { count: 1 },
  runLabel: (state, count) => t('Fill {count} canvases', { count }),
  missing: () => '',
  status(state) {
    const model = modelOf(state);
    const { width, height } = sizeOf(state);
    if (!model) return '';
    const count = windows(Math.ceil(height / model.factor), Math.ceil(width / model.factor), model.grid, strideOf(state)).length;
    return t('{count} windows', { count });
  },
  size: sizeOf,
  request: (state) => {
    const request = { ...sizeOf(state), stride: strideOf(state) };
    if (random(state)) request.random_windows = true;
    return request;
  },

  scene(state) {
    const model = modelOf(state);
    if (!model) return null;
    const { width, height } = sizeOf(state);
    const grid = { h: Math.ceil(height / model.factor), w: Math.ceil(width / model.factor), factor: model.factor };
    return {
      kind: 'blank', image: null, at: { x: 0, y: 0, width, height }, extent: { left: 0, top: 0, width, height }, grid, fits: true,
      tokens: null, open: new Uint8Array(grid.h * grid.w).fill(1), fresh: [], base: null, mask: null, pins: null, name: t('Empty canvas'),
    };
  },

  /** Faint: where the windows lie. Strong: those that hold a cell which was filled at this step. */
  paint(context, state, scene, scale) {
    const model = modelOf(state);
    const job = state.job;
    const shown = scene.kind === 'result' && job?.task === 'wide';
    if (!model || (scene.kind !== 'blank' && !shown)) return;
    const stride = shown ? job.request.stride ?? halfOf(model) : strideOf(state);
    const moving = shown ? job.request.random_windows : random(state);
    const colours = palette();
    const all = moving ? [] : windows(scene.grid.h, scene.grid.w, model.grid, stride);
    context.save();
    context.lineWidth = 1.5 / scale;
    if (scene.kind === 'blank') {
      context.strokeStyle = colours.accent;
      context.setLineDash([6 / scale, 5 / scale]);
      all.forEach((window, k) => strokeWindow(context, window, model.grid, scene.grid.factor, scale, (3 + (k % 3) * 3) / scale));
    } else if (scene.open && scene.fresh) {
      context.strokeStyle = colours.ember;
      context.lineWidth = 2.5 / scale;
      for (const window of all) {
        const holds = scene.fresh.some((index) => {
          const y = Math.floor(index / scene.grid.w) - window.y;
          const x = (index % scene.grid.w) - window.x;
          return y >= 0 && x >= 0 && y < model.grid[0] && x < model.grid[1];
        });
        if (holds) strokeWindow(context, window, model.grid, scene.grid.factor, scale, 2 / scale);
      }
    }
    context.restore();
  },

  form(state) {
    const model = modelOf(state);
    const step = model?.factor ?? 1;
    const most = 2048;
    const { width, height } = sizeOf(state);
    return [
      el('div', { class: 'pair' },
        numberField(state, 'wide', 'width', { label: t('Width'), min: model?.width ?? 64, max: most, step, initial: width }),
        numberField(state, 'wide', 'height', { label: t('Height'), min: model?.height ?? 64, max: most, step, initial: height })),
      rangeField(state, 'wide', 'stride', { label: t('Window stride'), min: 1, max: model?.grid?.[0] ?? 16, step: 1, initial: halfOf(model), show: (value) => t('{count} cells', { count: value }), help: t('Closer windows agree better and cost more.') }),
      checkField(state, 'wide', 'random_windows', { label: t('Shift windows at each step'), help: t('No fixed seams. Windows are then not drawn.') }),
    ];
  },
};


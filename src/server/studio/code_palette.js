/** The codebook as a palette, its codes by colour: one is chosen by a press, by arrow keys, or by its number. */
import { store } from './store.js';
import { el, button, iconButton } from './dom.js';
import { chooseCode, letAllGo } from './code_brush.js';
import { codeColours } from './codebook.js';
import { modelOf } from './documents.js';
import { numberInput } from './form.js';
import { palette } from './palette.js';
import { t } from './words.js';

const kFine = 1024; // larger codebooks are drawn finer
const kHues = 12; // bands of colour
const kGrey = 0.1; // saturation below which a colour is a grey

const orders = new Map(); // model name -> Int32Array of its codes, by colour

/** Hue 0 to 1, saturation 0 to 1, lightness 0 to 255 of a colour. */
function hueOf([r, g, b]) {
  const most = Math.max(r, g, b);
  const range = most - Math.min(r, g, b);
  const hue = range === 0 ? 0 : most === r ? ((g - b) / range + 6) % 6 : most === g ? (b - r) / range + 2 : (r - g) / range + 4;
  return { hue: hue / 6, saturation: most ? range / most : 0, light: 0.299 * r + 0.587 * g + 0.114 * b };
}

/** Codes in bands of hue, greys first; within a band from dark to light. */
export function byColour(colours) {
  const places = colours.map((colour, code) => {
    const { hue, saturation, light } = hueOf(colour);
    return { code, band: saturation < kGrey ? -1 : Math.floor(hue * kHues), light };
  });
  return Int32Array.from(places.sort((a, b) => a.band - b.band || a.light - b.light || a.code - b.code), ({ code }) => code);
}

function orderOf(model) {
  const colours = codeColours(model.name);
  if (!colours) return null;
  if (!orders.has(model.name)) orders.set(model.name, byColour(colours));
  return orders.get(model.name);
}

const layoutOf = (count) => (count > kFine ? { columns: 32, side: 9 } : { columns: 16, side: 18 });

function draw(canvas, model, order, chosen) {
  const { columns, side } = layoutOf(order.length);
  const colours = codeColours(model.name);
  const ratio = Math.max(1, Math.round(devicePixelRatio));
  Object.assign(canvas, { width: columns * side * ratio, height: Math.ceil(order.length / columns) * side * ratio });
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  let at = null;
  order.forEach((code, k) => {
    const [x, y] = [(k % columns) * side, Math.floor(k / columns) * side];
    context.fillStyle = `rgb(${colours[code].map(Math.round).join(' ')})`;
    context.fillRect(x, y, side, side);
    if (code === chosen) at = [x, y];
  });
  if (!at) return;
  for (const [colour, width, inset] of [[palette().panel, 5, 1], [palette().ink, 2.5, 1]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(at[0] + inset, at[1] + inset, side - 2 * inset, side - 2 * inset);
  }
}

/** The palette that one chooses from: a slider to the keyboard and the screen reader, for it is one value of an order. */
function board(model, order, chosen) {
  const { columns, side } = layoutOf(order.length);
  const canvas = el('canvas', { 'aria-hidden': 'true' });
  draw(canvas, model, order, chosen);
  const place = order.indexOf(chosen);
  const choose = (k) => chooseCode(order[Math.max(0, Math.min(order.length - 1, k))]);
  const element = el('div', {
    class: 'code-board', tabindex: 0, role: 'slider', 'aria-label': t('Codes by colour'), 'aria-valuemin': 0, 'aria-valuemax': order.length - 1, 'aria-valuenow': Math.max(0, place),
    'aria-valuetext': place < 0 ? t('none chosen') : t('code {code}, {place} of {count}', { code: chosen, place: place + 1, count: order.length }), 'data-key': 'code-board',
    on: {
      click: (event) => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [Math.floor(((event.clientX - box.left) / box.width) * columns), Math.floor((event.clientY - box.top) / (box.height / Math.ceil(order.length / columns)))];
        const k = y * columns + x;
        if (x >= 0 && x < columns && k >= 0 && k < order.length) choose(k);
      },
      keydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 8 * columns, PageUp: -8 * columns, Home: -order.length, End: order.length }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        choose(place < 0 ? 0 : place + step);
      },
    },
  }, canvas);
  if (place >= 0) queueMicrotask(() => { // the chosen one is in sight
    const top = Math.floor(place / columns) * (canvas.getBoundingClientRect().height / Math.ceil(order.length / columns));
    if (top < element.scrollTop || top > element.scrollTop + element.clientHeight - side) element.scrollTop = top - element.clientHeight / 2;
  });
  return element;
}

/** A tile in the colour of a code. */
export function swatch(model, code) {
  const tile = el('span', { class: 'code-swatch', 'aria-hidden': 'true' });
  const colour = model && code !== null ? codeColours(model.name)?.[code] : null;
  if (colour) tile.style.background = `rgb(${colour.map(Math.round).join(' ')})`;
  return tile;
}

/** What the panel of a cell holds while one paints with codes. */
export function paletteContent(state) {
  const model = modelOf(state);
  if (!model) return [];
  const order = orderOf(model);
  const { code, edit } = state;
  return [
    el('div', { class: 'panel-head' }, el('h2', {}, t('Paint with codes')), el('p', {}, t('Choose a code and paint: its cells are decoded as you go. With the pipette, or Alt, a press on the picture takes the code from there.'))),
    el('div', { class: 'fields' },
      el('div', { class: 'field-line' }, el('label', { for: 'code-number' }, t('Code')), el('div', { class: 'seed-line' }, swatch(model, code),
        numberInput('code-number', { min: 0, max: model.codebook_size - 1, value: code ?? '', set: (value) => chooseCode(value), placeholder: '…' }),
        iconButton('pick', t('Take a code from the picture (Y)'), () => store.set({ tool: 'pick', drawer: false }), { 'aria-pressed': String(state.tool === 'pick'), 'data-key': 'panel-pick' }))),
      order ? board(model, order, code) : el('p', { class: 'muted' }, t('Asking for the colours of the codes …')),
      edit.pins.size ? button(t('Let all chosen codes go'), letAllGo, { icon: 'close', class: 'small', 'data-key': 'let-go' }) : null),
  ];
}

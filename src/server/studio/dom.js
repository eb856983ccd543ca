/** Elements from one call: el('button', {class: 'button', on: {click}}, 'text', child). */
import { icon } from './icons.js';

export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else if (name === 'props') Object.assign(element, value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button that is an icon alone; its name is spoken and shown as a tip. */
export function iconButton(name, label, click, attributes = {}) {
  const { class: extra = '', on = {}, ...rest } = attributes;
  return el('button', { type: 'button', class: `icon-button ${extra}`, 'aria-label': label, title: label, on: { click, ...on }, ...rest }, icon(name));
}

/** A button with words, and an icon where one is named. */
export function button(label, click, { icon: name, class: extra = '', ...rest } = {}) {
  return el('button', { type: 'button', class: `button ${extra}`, on: { click }, ...rest }, name ? icon(name) : null, el('span', {}, label));
}

const unfolded = new Set(); // keys of parts that are open

/** A part that folds; over a redraw it stays as it was, also where the press that opens it brings one about. */
export function fold(key, label, ...children) {
  const part = el('details', { class: 'more', id: key, open: unfolded.has(key) },
    el('summary', { 'data-key': `${key}-summary`, on: { click: () => unfolded[part.open ? 'delete' : 'add'](key) } }, label), el('div', {}, ...children));
  return part;
}

/*
 * A press is a pointer or the space bar going down and up again. Whatever is redrawn in between takes the pressed element
 * away, and with it the click: a field that loses the focus at the press changes the state, a running job does so all the
 * time. Redraws around a pressed element therefore wait until the press is over.
 */
let pressed = null;
let ending = 0;
const waiting = new Map(); // parent -> makes the children that it is to have

function press(event) {
  clearTimeout(ending);
  pressed = event.target;
}

function release() {
  clearTimeout(ending);
  ending = setTimeout(() => { // after the click
    pressed = null;
    const redraws = [...waiting];
    waiting.clear();
    for (const [parent, make] of redraws) replaceNow(parent, make());
  }, 0);
}

for (const name of ['pointerdown', 'mousedown']) document.addEventListener(name, press, true);
for (const name of ['pointerup', 'mouseup', 'pointercancel', 'dragend']) document.addEventListener(name, release, true);
document.addEventListener('keydown', (event) => { if (event.key === ' ') press(event); }, true);
document.addEventListener('keyup', (event) => { if (event.key === ' ') release(); }, true);
window.addEventListener('blur', release);

function replaceNow(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const key = focused?.dataset.key;
  const typed = focused?.tagName === 'TEXTAREA' ? [focused.selectionStart, focused.selectionEnd] : null;
  parent.replaceChildren(...children);
  const again = key ? parent.querySelector(`[data-key="${CSS.escape(key)}"]`) : null;
  again?.focus({ preventScroll: true });
  if (typed && again) again.setSelectionRange(...typed);
}

/**
 * Replaces the children, keeping the focus on the element of the same data-key where there was one; after the press where one of
 * them is pressed. In: the children, or a function that makes them when it comes to that.
 */
export function replaceKeepingFocus(parent, ...children) {
  const make = () => (typeof children[0] === 'function' ? children[0]() : children).flat().filter(Boolean);
  if (pressed && pressed !== document.body && parent.contains(pressed)) waiting.set(parent, make);
  else {
    waiting.delete(parent);
    replaceNow(parent, make());
  }
}

let unfinished = null; // the number that is being typed
document.addEventListener('input', ({ target }) => { if (target.type === 'number') unfinished = target; }, true);
for (const name of ['change', 'focusout']) document.addEventListener(name, () => { unfinished = null; }, true);

/** Whether a number is being typed in there, which a redraw would throw away. */
export const isTypedIn = (parent) => unfinished !== null && parent.contains(unfinished);

/** Finishes an entry that is being typed, where the cursor stays. */
export function commitEntry() {
  const entry = document.activeElement?.closest?.('input, textarea');
  entry?.dispatchEvent(new Event('change', { bubbles: true }));
}

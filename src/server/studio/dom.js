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

/** Replaces the children, keeping the focus on the element of the same data-key where there was one. */
export function replaceKeepingFocus(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...children.flat().filter(Boolean));
  if (key) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

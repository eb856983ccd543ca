/** What is told: to screen readers in the live region, to everyone in small notes that go away. */
import { el, iconButton, button } from './dom.js';
import { t } from './words.js';

let last = '';

/** Spoken politely; the same text twice is spoken twice. */
export function announce(text) {
  const live = document.getElementById('live');
  last = text === last ? `${text}\u00a0` : text;
  live.textContent = last;
}

/** A note at the bottom. bad: stays until it is closed. action: {label, run}. */
export function toast(text, { bad = false, action = null, seconds = 5 } = {}) {
  const box = document.getElementById('toasts');
  const close = () => note.remove();
  const note = el('div', { class: bad ? 'toast bad' : 'toast' }, el('span', {}, text),
    action ? button(action.label, () => { close(); action.run(); }, { class: 'small' }) : null,
    iconButton('close', t('Dismiss'), close, { class: 'small' }));
  while (box.children.length > 2) box.firstElementChild.remove();
  box.append(note);
  announce(text);
  if (!bad) setTimeout(close, (action ? seconds + 4 : seconds) * 1000);
  return close;
}

/** An error in words; unknown ones are shown as they are. action: what can be done about it. */
export function complain(error, action = null) {
  if (error?.name === 'AbortError') return;
  toast(error?.message || String(error), { bad: true, action });
}

/** One question before something is lost. */
import { el, button } from './dom.js';
import { t } from './words.js';

/** Resolves to whether the answer was yes; Escape is no. */
export function ask({ title, words, yes, danger = false }) {
  const dialog = document.getElementById('ask-dialog');
  return new Promise((resolve) => {
    dialog.replaceChildren(el('div', { class: 'fields' },
      el('h2', { id: 'ask-title' }, title), el('p', {}, words),
      el('div', { class: 'hint-row end' },
        button(t('Keep it'), () => dialog.close(''), { autofocus: true }),
        button(yes, () => dialog.close('yes'), { class: danger ? 'stop' : 'primary-soft' }))));
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });
}

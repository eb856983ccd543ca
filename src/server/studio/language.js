/** The language of the page: chosen by the browser, changed here. The page is loaded anew in it; the work under way is kept. */
import { el, button, iconButton } from './dom.js';
import { saveNow } from './session.js';
import { keepLanguage, language, languages, t } from './words.js';

async function choose(name) {
  keepLanguage(name);
  await saveNow();
  location.reload();
}

export function startLanguage(opener) {
  const dialog = document.getElementById('language-dialog');
  opener.title = t('Language');
  opener.addEventListener('click', () => {
    dialog.replaceChildren(
      el('header', {}, el('h2', { id: 'language-title' }, t('Language')), iconButton('close', t('Close'), () => dialog.close())),
      el('ul', { class: 'languages' }, Object.entries(languages).map(([code, { name, dir }]) => el('li', {},
        button(name, () => (code === language ? dialog.close() : choose(code)), { lang: code, dir, translate: 'no', 'aria-pressed': String(code === language), 'data-key': `language-${code}` })))));
    dialog.showModal();
  });
}

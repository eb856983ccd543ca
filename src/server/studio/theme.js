/** Light, dark or as the system: one button turns through the three. */
import { icon } from './icons.js';
import { forgetPalette } from './palette.js';
import { t } from './words.js';

const kKey = 'tessera-theme';
const turns = {
  system: { next: 'light', icon: 'contrast', label: t('Colours: as the system') },
  light: { next: 'dark', icon: 'sun', label: t('Colours: light') },
  dark: { next: 'system', icon: 'moon', label: t('Colours: dark') },
};

export function startTheme(button, changed) {
  const show = (name) => {
    if (name === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.setAttribute('aria-label', turns[name].label);
    button.title = turns[name].label;
    button.replaceChildren(icon(turns[name].icon));
    forgetPalette();
    changed();
  };
  let theme = localStorage.getItem(kKey) ?? 'system';
  if (!turns[theme]) theme = 'system';
  show(theme);
  button.addEventListener('click', () => {
    theme = turns[theme].next;
    localStorage.setItem(kKey, theme);
    show(theme);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => show(theme));
}

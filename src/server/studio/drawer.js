/** On a phone the panels lie in a sheet at the bottom: its head is always there, a tap or a drag draws it up over the picture. */
import { store } from './store.js';
import { icon } from './icons.js';
import { t } from './words.js';

const kPhone = matchMedia('(max-width: 759px) and (min-height: 481px)');
const kDrag = 24; // CSS pixels that make a drag of a tap

/** At first, for a model that takes words: they come before the button. */
export const drawUpForWords = (model) => { if (kPhone.matches && model && model.condition !== 'none') store.set({ drawer: true }); };

/** side: the panels and the run button; tabs: their names; button: draws them up and down. */
export function startDrawer(side, tabs, button) {
  const set = (drawer) => { if (store.get().drawer !== drawer) store.set({ drawer }); };
  const show = ({ drawer, panel }) => {
    const open = drawer && kPhone.matches;
    side.dataset.open = String(open);
    button.setAttribute('aria-expanded', String(open));
    button.setAttribute('aria-label', open ? t('Hide the panel') : t('Show the panel'));
    button.replaceChildren(icon(open ? 'down' : 'up'));
    // Nothing behind the closed sheet can be reached by keys.
    for (const name of ['task', 'cell', 'history']) document.getElementById(`panel-${name}`).inert = kPhone.matches && !open && name === panel;
  };
  button.addEventListener('click', () => set(!store.get().drawer));
  tabs.addEventListener('click', (event) => { if (event.target.closest('button')) set(true); });

  let begin = null;
  const head = button.parentElement;
  head.addEventListener('pointerdown', (event) => { begin = event.clientY; });
  window.addEventListener('pointermove', (event) => {
    if (begin === null || !kPhone.matches || Math.abs(event.clientY - begin) < kDrag) return;
    set(event.clientY < begin);
    begin = null;
  });
  window.addEventListener('pointerup', () => { begin = null; });
  side.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !kPhone.matches || !store.get().drawer) return;
    event.preventDefault();
    set(false);
    button.focus();
  });
  // A picture that is touched is to be seen.
  document.getElementById('stage').addEventListener('pointerdown', () => set(false));
  store.on(['drawer', 'panel'], show);
  kPhone.addEventListener('change', () => show(store.get()));
  show(store.get());
}

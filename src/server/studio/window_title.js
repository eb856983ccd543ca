/** How the job goes, in the title of the window: it is seen from another tab. */
import { store } from './store.js';
import { isBusy } from './job_runner.js';
import { t } from './words.js';

const kName = t('Tessera Studio');

export function startTitle() {
  let missed = false; // a job ended while the page was not looked at
  const show = ({ live }) => {
    const { step = 0, steps = 0 } = live?.progress ?? {};
    if (isBusy(live)) document.title = steps ? `${Math.floor((100 * step) / steps)}% · ${kName}` : `… · ${kName}`;
    else document.title = missed ? `${t('Done')} · ${kName}` : kName;
  };
  store.on(['live', 'ended'], (state, names) => {
    if (names.has('ended') && state.ended) missed = document.hidden;
    show(state);
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) { missed = false; show(store.get()); } });
}

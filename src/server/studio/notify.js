/** A word from the system when a long job is done and the page is not looked at. The browser is asked at a press of the bell alone. */
import { store } from './store.js';
import { toast } from './announce.js';
import { iconButton } from './dom.js';
import { t } from './words.js';

const kKey = 'tessera-notify';
const kLong = 10; // seconds: shorter jobs are done before one looks away
const known = () => typeof Notification === 'function' && window.isSecureContext;

/** Whether one is told. */
export function isTold() {
  try {
    return known() && Notification.permission === 'granted' && localStorage.getItem(kKey) === 'yes';
  } catch {
    return false;
  }
}

const keep = (value) => { localStorage.setItem(kKey, value); store.set({ queue: { ...store.get().queue } }); };

async function toggle() {
  if (isTold()) {
    keep('no');
    return;
  }
  const answer = Notification.permission === 'granted' ? 'granted' : await Notification.requestPermission();
  if (answer === 'granted') keep('yes');
  else toast(t('The browser does not let this page send notifications. Its settings for this address can allow it.'));
}

/** The bell; null where the browser has none for this page. */
export function bell() {
  if (!known()) return null;
  return iconButton('bell', isTold() ? t('You are told when it is done') : t('Tell me when it is done'), toggle, { 'aria-pressed': String(isTold()), 'data-key': 'bell' });
}

export function startNotify() {
  store.on(['ended'], ({ ended, queue }) => {
    if (!ended || ended.phase === 'cancelled' || !document.hidden || !isTold()) return;
    if (ended.seconds < kLong && !queue.current?.seen && (queue.current?.jobs.length ?? 1) === 1) return;
    const rest = queue.waiting.length + (queue.current ? queue.current.jobs.length - queue.current.begun : 0);
    if (ended.phase === 'done' && rest) return; // one word at the end of it all
    const title = ended.phase === 'done' ? t('{title} is done', { title: queue.current?.title ?? ended.title }) : t('{title} failed', { title: ended.title });
    const note = new Notification(title, { body: ended.error || '', icon: new URL('studio/mark.svg', document.baseURI).href, tag: 'tessera' });
    note.addEventListener('click', () => { window.focus(); note.close(); });
  });
}

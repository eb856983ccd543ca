/** The history and the work under way on this machine, in the browser's own database; nothing where the browser has none. */
export const kMost = 40; // entries
const kMostTabs = 6; // whose work is kept
let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('tessera-studio', 3);
    request.onupgradeneeded = ({ oldVersion }) => {
      if (oldVersion < 1) request.result.createObjectStore('history', { keyPath: 'key' });
      if (oldVersion < 2) request.result.createObjectStore('sessions', { keyPath: 'tab' });
      if (oldVersion < 3) request.result.createObjectStore('queues', { keyPath: 'tab' });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function transact(mode, work, name = 'history') {
  const open = await database();
  return new Promise((resolve, reject) => {
    const transaction = open.transaction(name, mode);
    const request = work(transaction.objectStore(name));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error); // no room left
  });
}

/** Newest first. */
export async function loadHistory() {
  try {
    const entries = await transact('readonly', (objects) => objects.getAll());
    return entries.sort((a, b) => b.time - a.time).slice(0, kMost);
  } catch {
    return [];
  }
}

export async function saveEntry(entry) {
  try {
    const { base, ...kept } = entry; // a canvas cannot be kept
    void base;
    await transact('readwrite', (objects) => objects.put(kept));
    const keys = (await loadHistory()).map((other) => other.key);
    const all = await transact('readonly', (objects) => objects.getAllKeys());
    await transact('readwrite', (objects) => { for (const key of all) if (!keys.includes(key)) objects.delete(key); });
  } catch {
    // a private window may refuse: the history then lives as long as the page
  }
}

export const removeEntry = (key) => transact('readwrite', (objects) => objects.delete(key)).catch(() => {});
export const clearHistory = () => transact('readwrite', (objects) => objects.clear()).catch(() => {});

function ownTab() {
  let tab = sessionStorage.getItem('tessera-tab');
  if (!tab) {
    tab = `${Date.now()}-${Math.floor(Math.random() * 1e9)}`;
    sessionStorage.setItem('tessera-tab', tab);
  }
  return tab;
}

/** The work of this tab, or the newest where it has none; null where there is none at all. */
export async function loadSession() {
  try {
    const all = await transact('readonly', (objects) => objects.getAll(), 'sessions');
    all.sort((a, b) => b.time - a.time);
    return all.find(({ tab }) => tab === ownTab()) ?? all[0] ?? null;
  } catch {
    return null;
  }
}

export async function saveSession(record) {
  await transact('readwrite', (objects) => objects.put({ ...record, tab: ownTab() }), 'sessions');
  const all = await transact('readonly', (objects) => objects.getAll(), 'sessions');
  const old = all.sort((a, b) => b.time - a.time).slice(kMostTabs);
  if (old.length) await transact('readwrite', (objects) => { for (const { tab } of old) objects.delete(tab); }, 'sessions');
}

/** What this tab had in its queue, or null. */
export async function loadKept() {
  try {
    return await transact('readonly', (objects) => objects.get(ownTab()), 'queues') ?? null;
  } catch {
    return null;
  }
}

export async function saveKept(record) {
  const empty = !record.waiting.length && !record.xy;
  await transact('readwrite', (objects) => (empty ? objects.delete(ownTab()) : objects.put({ ...record, time: Date.now(), tab: ownTab() })), 'queues');
  const all = await transact('readonly', (objects) => objects.getAllKeys(), 'queues');
  if (all.length <= kMostTabs) return;
  const times = await transact('readonly', (objects) => objects.getAll(), 'queues');
  const old = times.sort((a, b) => b.time - a.time).slice(kMostTabs);
  await transact('readwrite', (objects) => { for (const { tab } of old) objects.delete(tab); }, 'queues');
}

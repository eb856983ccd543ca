/** The history on this machine, in the browser's own database; nothing where the browser has none. */
const kMost = 40; // entries
let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open('tessera-studio', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('history', { keyPath: 'key' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function transact(mode, work) {
  const open = await database();
  return new Promise((resolve, reject) => {
    const transaction = open.transaction('history', mode);
    const request = work(transaction.objectStore('history'));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = () => reject(transaction.error);
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
    await transact('readwrite', (objects) => objects.put(entry));
    const keys = (await loadHistory()).map((other) => other.key);
    const all = await transact('readonly', (objects) => objects.getAllKeys());
    await transact('readwrite', (objects) => { for (const key of all) if (!keys.includes(key)) objects.delete(key); });
  } catch {
    // a private window may refuse: the history then lives as long as the page
  }
}

export const removeEntry = (key) => transact('readwrite', (objects) => objects.delete(key)).catch(() => {});
export const clearHistory = () => transact('readwrite', (objects) => objects.clear()).catch(() => {});

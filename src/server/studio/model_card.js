/** What a model's author says of it, and its example pictures: asked once for each model. */
import * as api from './api.js';
import { store } from './store.js';

const cards = new Map(); // model name -> {name, text, folder, examples: [{url, name, text}]}, or null while it is asked

/** The card, or null where it is not known (yet). */
export const cardOf = (name) => cards.get(name) ?? null;

export async function learnCard(name) {
  if (!name || cards.has(name)) return;
  cards.set(name, null);
  try {
    cards.set(name, await api.card(name));
    store.set({ card: {}, form: {} });
  } catch {
    cards.delete(name); // a nicety: the page goes on without
  }
}

/** The paragraph of the card that says what the model knows; the first where none says so. */
export function knowsWords(card) {
  const paragraphs = (card?.text ?? '').split(/\n\s*\n/).map((part) => part.replaceAll(/\s*\n\s*/g, ' ').trim())
    .filter((part) => part && !/^(#|\||`{3}|<!--| {4}|tessera )/.test(part) && /[a-z] [a-z]/.test(part));
  return { first: paragraphs[0] ?? '', knows: paragraphs.find((part) => /^What it (can|knows)/i.test(part)) ?? '' };
}

/** Words of its captions that stand before or after a colon, the commonest first. */
export function commonWords(card, most = 8) {
  const counts = new Map();
  for (const { text } of card?.examples ?? []) for (const part of (text ?? '').split(/[:,]/)) {
    const word = part.trim();
    if (word.length > 2) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, most).map(([word]) => word);
}

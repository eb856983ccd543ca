/** How much of a text the model reads, said while one types; and words that it knows, as the field's example. */
import * as api from './api.js';
import { cardOf } from './model_card.js';
import { t } from './words.js';

const kPause = 250; // ms after the last letter
const asked = new Map(); // 'model text' -> answer
const timers = new WeakMap(); // output element -> timer

const say = (answer, count, left) => {
  count.textContent = answer.tokens ? t('{tokens} of {most} tokens', { tokens: answer.tokens, most: answer.most }) : '';
  count.classList.toggle('over', answer.tokens > answer.most);
  left.hidden = !answer.left_out;
  left.textContent = answer.left_out ? t('Not read, the model takes {most} tokens: {words}', { most: answer.most, words: answer.left_out.trim() }) : '';
};

/** Fills in the count of a text, and the words beyond what the model reads. */
export function countWords(model, text, count, left) {
  clearTimeout(timers.get(count));
  const key = `${model.name} ${text}`;
  if (asked.has(key)) { say(asked.get(key), count, left); return; }
  if (!text.trim()) { say({ tokens: 0, most: 0, left_out: '' }, count, left); return; }
  timers.set(count, setTimeout(async () => {
    try {
      const answer = await api.words(model.name, text);
      asked.set(key, answer);
      if (document.getElementById(count.getAttribute('for'))?.value === text) say(answer, count, left);
    } catch {
      count.textContent = ''; // a nicety: the job itself goes on
    }
  }, kPause));
}

/** What an example of the model shows, for an empty field. */
export function exampleWords(model) {
  const captions = (cardOf(model?.name)?.examples ?? []).map(({ text }) => text).filter(Boolean);
  return captions.find((text) => text.includes(':')) ?? captions[0] ?? '';
}

/**
 * The surprise map: how unlikely the model finds the code of each cell, given the others. Shown as colour over the picture, and taken as
 * the mask of what is to be made anew. (store: surprise: {tokens, nats: Float32Array[h*w], shown} or null; it is of the codes that it holds)
 */
import * as api from './api.js';
import { store } from './store.js';
import { announce, complain } from './announce.js';
import { change } from './edits.js';
import { countSet, rowsOf } from './cells.js';
import { loadTokens, modelOf } from './documents.js';
import { el, button } from './dom.js';
import { optionsOf } from './fields.js';
import { rangeField, refreshForm } from './form.js';
import { taskOf, taskOption } from './tasks/index.js';
import { t } from './words.js';

const kSpacing = 4; // cells hidden together lie so far apart: sixteen looks at a picture
const kShare = 10; // percent that are painted
let asking = null;

/** The map of the picture as it is now, or null. */
export const surpriseOf = ({ surprise, edit }) => (surprise && edit.doc && surprise.tokens === edit.doc.tokens ? surprise : null);

/** 0 to 1 for each cell: 1 where a code drawn blindly would be as likely. Null where it is not to be seen. */
export function surpriseLayer(state) {
  const map = surpriseOf(state);
  const codes = modelOf(state)?.codebook_size ?? 0;
  return map?.shown && codes > 1 ? map.nats.map((nats) => Math.min(1, nats / Math.log(codes))) : null;
}

async function ask() {
  const state = store.get();
  const { doc } = state.edit;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  refreshForm();
  try {
    const tokens = doc.tokens ?? await loadTokens(doc, { asked: true });
    const { prompt, negative_prompt, class: label } = optionsOf(state, taskOf(state));
    const words = Object.fromEntries(Object.entries({ prompt, negative_prompt, class: label }).filter(([, value]) => value !== undefined && value !== ''));
    const { scores: [rows] } = await api.score({ model: doc.model, tokens: rowsOf(tokens, doc.h, doc.w), spacing: Math.min(kSpacing, Math.max(doc.h, doc.w)), ...words }, signal);
    store.set({ surprise: { tokens, nats: Float32Array.from(rows.flat(), (value) => -(value ?? 0)), shown: true } });
    announce(t('The cells that do not fit are coloured'));
  } catch (error) {
    complain(error);
  } finally {
    if (asking?.signal === signal) asking = null;
    refreshForm();
  }
}

const toggle = () => {
  const map = surpriseOf(store.get());
  if (!map) return ask();
  store.set({ surprise: { ...map, shown: !map.shown } });
  return refreshForm();
};

/** The share of cells that fit least become what is painted. */
function paint() {
  const state = store.get();
  const { nats } = surpriseOf(state);
  const share = taskOption(state, state.task, 'misfit', kShare);
  const most = Math.max(1, Math.round((nats.length * share) / 100));
  const mask = new Uint8Array(nats.length);
  [...nats.keys()].sort((a, b) => nats[b] - nats[a] || a - b).slice(0, most).forEach((cell) => { mask[cell] = 1; });
  change({ mask });
  store.set({ surprise: { ...state.surprise, shown: false } });
  refreshForm();
  announce(t('{count} cells are painted', { count: countSet(mask) }));
}

/** The part of a task's form. */
export function surpriseForm(state, task) {
  const map = surpriseOf(state);
  const model = modelOf(state);
  if (!model?.has_prior) return null;
  return el('div', { class: 'field', role: 'group', 'aria-label': t('What does not fit') },
    el('div', { class: 'field-line' }, el('span', { class: 'field-label' }, t('What does not fit')),
      button(asking ? t('Looking …') : map?.shown ? t('Hide it') : t('Show it'), toggle, { class: 'small', icon: 'surprise', disabled: Boolean(asking), 'aria-pressed': String(Boolean(map?.shown)), 'data-key': 'surprise' })),
    map ? rangeField(state, task, 'misfit', { label: t('Share of cells'), min: 1, max: 50, step: 1, initial: kShare, show: (value) => `${value}%` }) : null,
    map ? button(t('Paint what fits least'), paint, { class: 'small', icon: 'brush', 'data-key': 'surprise-paint' }) : null);
}

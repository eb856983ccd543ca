/** One cell: the codes the model finds likely there, and what becomes of the rest when one is chosen. */
import * as api from './api.js';
import { store } from './store.js';
import { change } from './edits.js';
import { countSet, flatTokens, neighbourCells, rowsOf } from './cells.js';
import { documentOf, loadTokens, modelOf } from './documents.js';
import { optionsOf } from './fields.js';
import { newSeed } from './form.js';
import { adopt } from './adopt.js';
import { laidOver } from './composite.js';
import { canvasOf } from './pictures.js';
import { isBusy, runRequest } from './job_runner.js';
import { announce, complain } from './announce.js';
import { withTouched } from './work_area.js';
import { taskOf, taskOption } from './tasks/index.js';
import { t } from './words.js';

const kCandidates = 9;
let asking = null; // the AbortController of the question under way

/** Document and tokens that are inspected: the shown result's or the picture's. */
function inspected(state) {
  if (state.shown === 'result' && state.job?.phase === 'done') {
    const result = state.job.results[state.job.selected];
    return result?.tokens ? documentOf(result.image, t('Result'), result.tokens) : null;
  }
  return state.edit.doc;
}

/** Options of sampling that a fill and a question to the model take. */
function samplingOf(state) {
  const { count, ...options } = optionsOf(state, taskOf(state));
  void count;
  return options;
}

/** Shows the panel of a cell {y, x} and asks the model. */
export async function inspectCell(cell) {
  const state = store.get();
  const doc = inspected(state);
  if (!doc || isBusy(state.live) || cell.y >= doc.h || cell.x >= doc.w) return;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const inspect = { cell, candidates: null, error: '', token: null };
  store.set({ inspect, panel: 'cell', drawer: true });
  try {
    const tokens = doc.tokens ?? await loadTokens(doc, { asked: true });
    const index = cell.y * doc.w + cell.x;
    const token = tokens[index];
    store.set({ inspect: { ...inspect, token } });
    const open = tokens.slice();
    open[index] = -1;
    const { temperature = modelOf(state)?.defaults?.temperature, prompt, negative_prompt, class: label, cfg_scale } = samplingOf(state);
    const answer = await api.candidates({
      model: doc.model, tokens: rowsOf(open, doc.h, doc.w), cell: [cell.y, cell.x], count: kCandidates, temperature: temperature || 1,
      ...Object.fromEntries(Object.entries({ prompt, negative_prompt, class: label, cfg_scale }).filter(([, value]) => value !== undefined)),
    }, signal);
    if (signal.aborted) return;
    store.set({ inspect: { ...inspect, token, candidates: answer.candidates } });
    announce(t('Row {row}, column {column}, code {code}. {count} likely codes listed.', { row: cell.y + 1, column: cell.x + 1, code: token, count: answer.candidates.length }));
  } catch (error) {
    if (error.name !== 'AbortError' && !signal.aborted) store.set({ inspect: { ...inspect, error: error.message } });
  }
}

/** Cells that are opened when a code is chosen: never the chosen one, nor others chosen by hand. */
export function adaptingCells(state, doc, cell, pins) {
  const what = taskOption(state, 'cell', 'adapt', 'neighbours');
  let cells = [];
  if (what === 'neighbours') cells = neighbourCells(doc, cell, taskOption(state, 'cell', 'radius', 2));
  else if (what === 'painted' && state.edit.mask?.length === doc.h * doc.w) cells = [...state.edit.mask.keys()].filter((index) => state.edit.mask[index]);
  else if (what === 'all') cells = [...Array(doc.h * doc.w).keys()];
  return cells.filter((index) => !pins.has(index));
}

export const canAdaptPainted = (state) => countSet(state.edit.mask) > 0;

/** Puts the code into the cell; the cells that adapt are filled again around it. */
export async function chooseCode(token) {
  if (isBusy(store.get().live)) return;
  const { cell } = store.get().inspect;
  try {
    if (store.get().shown === 'result' && !adopt(store.get().job.selected, { quiet: true })) return;
    const state = store.get();
    const { doc } = state.edit;
    const index = cell.y * doc.w + cell.x;
    const pins = new Map(state.edit.pins).set(index, token);
    const cells = adaptingCells(state, doc, cell, pins);
    const tokens = doc.tokens.slice();
    tokens[index] = token;
    for (const open of cells) tokens[open] = -1;
    const made = cells.length ? await filled(state, doc, tokens) : await decoded(doc, tokens);
    if (!made) return;
    const image = laidOver(doc.image, made.image, [index, ...cells], doc);
    const { area } = state.edit;
    change({ doc: { ...documentOf(image, doc.name, made.tokens), model: doc.model }, pins, area: area && withTouched(area, [index, ...cells], doc.h * doc.w) });
    store.set({ shown: 'picture', sheet: false });
    announce(cells.length ? t('Code {code} is set, {count} cells around it were filled again', { code: token, count: cells.length }) : t('Code {code} is set', { code: token }));
    inspectCell(cell);
  } catch (error) {
    complain(error);
  }
}

async function decoded(doc, tokens) {
  const answer = await api.decode(doc.model, rowsOf(tokens, doc.h, doc.w));
  return { image: await canvasOf(answer.image), tokens };
}

async function filled(state, doc, tokens) {
  const job = await runRequest({ verb: 'fill', model: doc.model, seed: newSeed(), ...samplingOf(state), count: 1, tokens: rowsOf(tokens, doc.h, doc.w) }, {
    task: 'fill', title: t('Cell'), count: 1, width: doc.w * doc.factor, height: doc.h * doc.factor, base: { image: doc.image, x: 0, y: 0 },
  });
  const result = job?.results[0];
  return result ? { image: result.image, tokens: result.tokens ?? flatTokens(tokens) } : null;
}


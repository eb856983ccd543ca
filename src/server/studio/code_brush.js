/**
 * Painting with codes: the brush sets cells to the chosen code (store: code), the pipette takes it from a cell. A painted cell has the
 * mean colour of its code at once; the decode of all codes follows as fast as the server gives it and is laid over the painted cells alone.
 */
import * as api from './api.js';
import { store } from './store.js';
import { announce, complain, toast } from './announce.js';
import { adoptShown } from './adopt.js';
import { brushCells, cellAt, rowsOf } from './cells.js';
import { codeColours, learnCodeColours } from './codebook.js';
import { laidOver } from './composite.js';
import { loadTokens, modelOf } from './documents.js';
import { amendDoc, beginStroke, change, endStroke } from './edits.js';
import { blankCanvas, canvasOf, cellColours } from './pictures.js';
import { showFootprint } from './stage.js';
import { withTouched } from './work_area.js';
import { t } from './words.js';

const undecoded = new WeakMap(); // document -> {base: canvas before, cells: Map cell -> code that the decode does not show yet}
let asking = false;
let seen = null; // {code, colour} of the cell a code was picked from: of codebooks too large to ask for

const colourOf = (model, code) => codeColours(model)?.[code] ?? (seen?.code === code ? seen.colour : null);

/** A copy in which these cells are plain. cells: Map cell -> code */
function coloured(image, cells, doc) {
  const out = blankCanvas(image.width, image.height);
  const context = out.getContext('2d');
  context.drawImage(image, 0, 0);
  for (const [cell, code] of cells) {
    const colour = colourOf(doc.model, code);
    if (!colour) continue;
    context.fillStyle = `rgb(${colour.join(' ')})`;
    context.fillRect((cell % doc.w) * doc.factor, Math.floor(cell / doc.w) * doc.factor, doc.factor, doc.factor);
  }
  return out;
}

/** Sets cells of the picture to the code. */
function setCells(cells, code) {
  const { doc, pins, area } = store.get().edit;
  const changed = [...cells].filter((cell) => doc.tokens[cell] !== code || !pins.has(cell));
  if (!changed.length) return;
  const { base, cells: before } = undecoded.get(doc) ?? { base: doc.image, cells: new Map() };
  const painted = new Map(changed.map((cell) => [cell, code]));
  const tokens = doc.tokens.slice();
  for (const cell of changed) tokens[cell] = code;
  const next = { ...doc, tokens, decoded: true, image: coloured(doc.image, painted, doc) };
  undecoded.set(next, { base, cells: new Map([...before, ...painted]) });
  change({ doc: next, pins: new Map([...pins, ...painted]), area: area && withTouched(area, changed, doc.h * doc.w) });
}

/** The decode of the picture's codes, while there are cells that it does not show. */
async function decodePainted() {
  if (asking) return;
  asking = true;
  try {
    for (let doc = store.get().edit.doc; undecoded.has(doc); doc = store.get().edit.doc) {
      const { base, cells } = undecoded.get(doc);
      const answer = await api.decode(doc.model, rowsOf(doc.tokens, doc.h, doc.w));
      const image = laidOver(base, await canvasOf(answer.image), [...cells.keys()], doc);
      const now = store.get().edit.doc;
      const later = undecoded.get(now);
      undecoded.delete(doc);
      if (now !== doc && later?.base === base) { // painted on meanwhile
        const rest = new Map([...later.cells].filter(([cell, code]) => cells.get(cell) !== code));
        const next = amendDoc(now, { image: coloured(image, rest, now) });
        if (rest.size) undecoded.set(next, { base: image, cells: rest });
      } else amendDoc(doc, { image });
    }
  } catch (error) {
    undecoded.delete(store.get().edit.doc); // its cells stay plain
    complain(error);
  } finally {
    asking = false;
  }
}

/** Whether cells can be painted now: there is a code and the picture's codes are known. Says what is missing. */
function ready() {
  const state = store.get();
  if (state.code === null) toast(t('Choose a code first: from the palette, or with the pipette from the picture.'));
  else if (!state.edit.doc?.tokens) {
    toast(t('The codes of this picture are on their way.'));
    if (state.edit.doc) loadTokens(state.edit.doc, { asked: true }).catch(complain);
  } else return true;
  return false;
}

export function chooseCode(code, { quiet = false } = {}) {
  store.set({ code });
  if (!quiet) announce(t('Code {code} is chosen', { code }));
}

/** Takes the code of a cell of what the stage shows. Returns whether it had one. */
export function pickCode(cell, scene) {
  const code = scene?.tokens?.[cell.y * scene.grid.w + cell.x] ?? -1;
  if (code < 0) return false;
  if (scene.image && scene.fits) seen = { code, colour: cellColours(scene.image, { ...scene.grid, factor: Math.max(1, Math.round(scene.grid.factor * (scene.image.width / scene.at.width))) })[cell.y * scene.grid.w + cell.x]?.map(Math.round) ?? null };
  chooseCode(code);
  return true;
}

/** The pipette: a press takes the code, and the brush paints with it. */
export function pipette(scene) {
  const cellFor = (point) => cellAt(scene.grid, point.x, point.y);
  return {
    cursor: 'inspect',
    footprint: (point) => { const cell = cellFor(point); return cell ? [cell.y * scene.grid.w + cell.x] : []; },
    up(point) {
      const cell = cellFor(point);
      if (cell && pickCode(cell, scene)) store.set({ tool: 'codes' });
    },
  };
}

/** The brush of `size` cells; with Alt it is the pipette. */
export function codeBrush(scene, size) {
  const { grid } = scene;
  let last = null;
  let picking = false;
  const footprint = (point) => [...brushCells(grid, point.x, point.y, point.x, point.y, size)];
  const stroke = (point) => {
    setCells(brushCells(grid, last.x, last.y, point.x, point.y, size), store.get().code);
    last = point;
    showFootprint(footprint(point));
  };
  return {
    cursor: 'paint', footprint,
    down(point, event) {
      last = null;
      picking = event.altKey;
      if (picking) {
        const cell = cellAt(grid, point.x, point.y);
        if (cell) pickCode(cell, scene);
        return;
      }
      if (scene.kind === 'result' && !adoptShown()) return;
      if (!ready()) return;
      beginStroke();
      last = point;
      stroke(point);
    },
    move(point) { if (last) stroke(point); },
    up() { if (last) endStroke(); last = null; },
  };
}

/** One cell, as the keyboard does it. */
export function paintCell(cell, scene) {
  if (scene.kind === 'result' && !adoptShown()) return;
  if (!ready()) return;
  const { doc } = store.get().edit;
  setCells([cell.y * doc.w + cell.x], store.get().code);
  announce(t('Code {code}, row {row}, column {column}', { code: store.get().code, row: cell.y + 1, column: cell.x + 1 }));
}

/** Codes that were painted or chosen may change again. */
export function letAllGo() {
  change({ pins: new Map() });
  announce(t('The model may change them again'));
}

export function startCodeBrush() {
  store.on(['edit'], ({ edit }) => { if (edit.doc && undecoded.has(edit.doc)) decodePainted(); });
  store.on(['tool', 'model'], (state, names) => {
    const model = modelOf(state);
    if ((state.tool === 'codes' || state.tool === 'pick') && model) learnCodeColours(model, { asked: true });
    if (names.has('model') && model && state.code !== null && state.code >= model.codebook_size) store.set({ code: null });
  });
}

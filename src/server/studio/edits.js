/**
 * What the user has made so far, and the way back. An edit is immutable: {doc, mask, pins, area, pieces, canvas}.
 *   doc      {image: canvas, width, height, factor, h, w, tokens: Int32Array[h*w] or null, decoded: the picture was made from these tokens, name, model} or null
 *   mask     Uint8Array[h*w], 1 where painted, or null
 *   pins     Map cell index -> token: codes chosen by hand, kept when the rest adapts
 *   area     where the document lies in a photograph (work_area.js), or null: it is the whole picture
 *   pieces   what lies on the canvas (tasks/layout.js), canvas {width, height} pixels; null: the document alone, nothing beside it
 */
import { store } from './store.js';

const kDepth = 200; // edits that can be undone

const bareCanvas = Object.freeze({ pieces: null, canvas: null });
export const emptyEdit = Object.freeze({
  doc: null, mask: null, pins: new Map(), ...bareCanvas, original: null, area: null,
});

let past = [];
let future = [];
let stroke = null;

export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

/** Replaces parts of the edit; one step of undo, unless a stroke is open: then the whole stroke is one. */
export function change(patch) {
  const before = store.get().edit;
  if (!stroke) {
    past.push(before);
    if (past.length > kDepth) past.shift();
    future = [];
  }
  store.set({ edit: { ...before, ...patch } });
}

export function beginStroke() {
  stroke = store.get().edit;
}

/** Ends a stroke; nothing is recorded where it changed nothing. */
export function endStroke() {
  if (stroke && stroke !== store.get().edit) {
    past.push(stroke);
    if (past.length > kDepth) past.shift();
    future = [];
    store.set({ edit: store.get().edit }); // the buttons of undo look again
  }
  stroke = null;
}

export function cancelStroke() {
  if (stroke) store.set({ edit: stroke });
  stroke = null;
}

export function undo() {
  if (!past.length || stroke) return false;
  future.push(store.get().edit);
  store.set({ edit: past.pop(), shown: 'picture', sheet: false });
  return true;
}

export function redo() {
  if (!future.length || stroke) return false;
  past.push(store.get().edit);
  store.set({ edit: future.pop(), shown: 'picture', sheet: false });
  return true;
}

/** The canvas when another picture is worked on: several pictures stay as they lie, a single one makes way. */
export function canvasBeside({ doc, pieces, canvas }) {
  if (!pieces || pieces.length < 2) return bareCanvas;
  return { canvas, pieces: pieces.map(({ own, ...piece }) => (own ? { ...piece, image: doc.image, name: doc.name } : piece)) };
}

/** A new picture to work on: nothing painted, nothing pinned. original: what hold-to-compare shows; from: what it was made from, 'picture' | 'canvas' | ''. */
export function usePicture(doc, { original = doc, mask = null, pins = new Map(), area = null, from = '' } = {}) {
  const { edit } = store.get();
  const laid = from === 'picture' ? {} : from === 'canvas' ? bareCanvas : canvasBeside(edit);
  change({ doc, original, mask: mask ?? new Uint8Array(doc.h * doc.w), pins, area, ...laid });
  store.set({ shown: 'picture', sheet: false, cursor: { y: 0, x: 0, visible: false } });
}

/** More is known of a document (its tokens, its decode): not an edit of its own. Returns the document as it is now. */
export function amendDoc(doc, patch) {
  const next = { ...doc, ...patch };
  const place = (edit) => (edit && edit.doc === doc ? { ...edit, doc: next } : edit);
  past = past.map(place);
  future = future.map(place);
  if (stroke) stroke = place(stroke);
  store.set({ edit: place(store.get().edit) });
  return next;
}

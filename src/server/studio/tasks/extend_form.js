/** The fields of a canvas: its margins, the pieces that lie on it, the seams between them. */
import { el, iconButton, button } from '../dom.js';
import { checkField, numberInput, rangeField, refreshForm } from '../form.js';
import { choosePictures } from '../imports.js';
import { blankCanvas } from '../pictures.js';
import { addPresent, layoutNow, choose, chosenPiece, factorOf, ontoFirst, raise, remove, seamPixels, setMargin } from './canvas.js';
import { boundsOf, marginsOf, mostMargin } from './layout.js';
import { sizeWords, t } from '../words.js';

const kMostSeam = 8; // cells
const sideWords = { left: t('Left'), right: t('Right'), top: t('Top'), bottom: t('Bottom') };

/** What lies there, small. side: pixels */
function thumbnail(pieces, side) {
  const { left, top, right, bottom } = boundsOf(pieces);
  const ratio = side / Math.max(right - left, bottom - top);
  const small = blankCanvas(side, side);
  const context = small.getContext('2d');
  context.translate((side - (right - left) * ratio) / 2, (side - (bottom - top) * ratio) / 2);
  context.scale(ratio, ratio);
  for (const { image, from, to } of pieces) context.drawImage(image, ...from, to[0] - left, to[1] - top, from[2], from[3]);
  small.setAttribute('aria-hidden', 'true');
  return small;
}

function marginFields(layout, factor) {
  const margins = marginsOf(layout);
  const side = (name) => el('div', { class: 'field' }, el('label', { for: `extend-${name}` }, sideWords[name]),
    numberInput(`extend-${name}`, { min: 0, max: mostMargin(layout, name, factor), step: factor, value: margins[name], set: (value) => setMargin(name, value) }));
  return [
    el('div', { class: 'field' }, el('span', { class: 'field-label' }, t('Pixels beyond each side')),
      el('div', { class: 'cross', role: 'group', 'aria-label': t('Pixels beyond each side') },
        el('span'), side('top'), el('span'), side('left'), el('div', { class: 'middle', 'aria-hidden': 'true' }, thumbnail(layout.pieces, 116)), side('right'), el('span'), side('bottom'), el('span'))),
    el('p', { class: 'field-help' }, t('In steps of {pixels} pixels, one cell. On the canvas, arrow keys extend, Shift takes back.', { pixels: factor })),
  ];
}

function pieceRow(piece, chosen, onTop) {
  return el('li', { 'data-selected': chosen },
    thumbnail([piece], 92),
    el('div', {}, el('button', { type: 'button', class: 'piece-name', dir: 'auto', 'aria-pressed': String(chosen), 'data-key': `piece-${piece.id}`, on: { click: () => choose(chosen ? null : piece) } }, piece.name),
      el('div', { class: 'piece-place number' }, t('{size} at {x}, {y}', { size: sizeWords(piece.from[2], piece.from[3]), x: piece.to[0], y: piece.to[1] }))),
    el('div', { class: 'piece-buttons' },
      onTop ? null : iconButton('up', t('Lay {name} on top', { name: piece.name }), () => raise(piece), { class: 'small', 'data-key': `raise-${piece.id}` }),
      iconButton('trash', t('Remove {name}', { name: piece.name }), () => remove(piece), { class: 'small', 'data-key': `remove-${piece.id}` })));
}

function seamFields(state, factor) {
  return [
    rangeField(state, 'extend', 'seam', {
      label: t('Seam'), min: 0, max: kMostSeam * factor, step: factor, initial: seamPixels(state), show: (value) => t('{pixels} px', { pixels: value }),
      help: ontoFirst(state) ? t('How much around each piece is made anew.') : t('How much of each piece is made anew where two meet.'),
    }),
    checkField(state, 'extend', 'onto', { label: t('Paste onto the lowest picture'), help: t('The others stay whole: the seam opens around them, in the lowest alone.'), then: refreshForm }),
  ];
}

export function extendForm(state) {
  const layout = layoutNow(state);
  const { pieces } = layout;
  const factor = factorOf(state);
  const chosen = chosenPiece(layout);
  return [
    ...(pieces.length ? marginFields(layout, factor) : []),
    el('div', { class: 'hint-row' },
      button(t('Add pictures'), choosePictures, { icon: 'open', class: 'small', 'data-key': 'extend-add' }),
      state.edit.doc && !pieces.some(({ own }) => own) ? button(t('Add the present picture'), addPresent, { icon: 'plus', class: 'small', 'data-key': 'extend-present' }) : null),
    pieces.length ? el('ul', { class: 'pieces', 'aria-label': t('Pieces, the last lies on top') }, pieces.map((piece) => pieceRow(piece, piece === chosen, piece === pieces.at(-1)))) : null,
    pieces.length ? el('p', { class: 'field-help' }, t('Drag a piece to move it; once it is chosen, drag its edges to cut it. Arrow keys move the chosen piece, Shift with them cuts it, Delete takes it away, Escape lets it go.')) : null,
    ...(pieces.length > 1 ? seamFields(state, factor) : []),
  ];
}

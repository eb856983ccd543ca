/** Painting with codes: from the picture, from the palette, by keys; decoded as one paints. */
import { strict as assert } from 'node:assert';
import { at } from '../stand_in.mjs';

const kSide = 16; // cells of the picture
const tokens = (studio) => studio.state(({ edit }) => [...edit.doc.tokens]);
const code = (studio) => studio.state((state) => state.code);
const decoded = (studio, cell) => studio.state(({ edit }, index) => { // the colour of a cell's middle
  const { image, factor, w } = edit.doc;
  return [...image.getContext('2d').getImageData(((index % w) + 0.5) * factor, (Math.floor(index / w) + 0.5) * factor, 1, 1).data.slice(0, 3)];
}, cell);
const colourOf = (value) => [((value >> 6) & 7) * 36 + 2, ((value >> 3) & 7) * 36 + 2, (value & 7) * 36 + 2]; // the stand-in's decode

async function pressCell(studio, y, x, hold = []) {
  const point = await studio.place(y, x);
  for (const key of hold) await studio.page.keyboard.down(key);
  await studio.page.mouse.move(point.x, point.y);
  await studio.page.mouse.down();
  await new Promise((resolve) => setTimeout(resolve, 60));
  await studio.page.mouse.up();
  for (const key of hold) await studio.page.keyboard.up(key);
  await studio.frame();
}

/** Every painted cell shows the decode of its code. */
async function shows(studio, cells, value) {
  for (const cell of cells) {
    const last = Date.now() + 20_000;
    const near = (colour) => colour.every((part, c) => Math.abs(part - colourOf(value)[c]) <= 3); // a canvas rounds
    while (!near(await decoded(studio, cell))) {
      assert.ok(Date.now() < last, `cell ${cell} shows ${await decoded(studio, cell)}, not ${colourOf(value)}`);
      await studio.frame();
    }
  }
}

export default {
  'the pipette takes a code from the picture, the brush paints with it, and the decode follows': at(['small', 'phone', 'wide'], async (studio, { size }) => {
    await studio.open('emoji_u1f683.png');
    const before = await tokens(studio);
    await studio.tool('codes');
    await studio.tool('pick');
    await pressCell(studio, 8, 8);
    assert.equal(await code(studio), before[8 * kSide + 8]);
    assert.equal(await studio.state(({ tool }) => tool), 'codes', 'the next press paints');
    await studio.set({ brush: 1 });
    await studio.drag([[1, 2], [1, 6]]);
    const painted = [2, 3, 4, 5, 6].map((x) => kSide + x);
    const after = await tokens(studio);
    assert.deepEqual(after.flatMap((token, cell) => (token === before[cell] ? [] : [cell])), painted.filter((cell) => before[cell] !== before[8 * kSide + 8]));
    await shows(studio, painted, before[8 * kSide + 8]);
    await studio.look(`codes-${size}`);
    // Another code, taken with Alt on the way; a second stroke over the first.
    const other = before.find((token) => token !== before[8 * kSide + 8]);
    const cell = before.indexOf(other);
    await pressCell(studio, Math.floor(cell / kSide), cell % kSide, ['Alt']);
    assert.equal(await code(studio), other);
    await studio.drag([[1, 5], [3, 5]]);
    await shows(studio, [kSide + 5, 2 * kSide + 5, 3 * kSide + 5], other);
    await shows(studio, [kSide + 2], before[8 * kSide + 8]);
    // Each stroke is one step back.
    await studio.tool('undo');
    assert.deepEqual(await tokens(studio), after);
    await shows(studio, painted, before[8 * kSide + 8]);
    await studio.tool('undo');
    assert.deepEqual(await tokens(studio), before);
    await studio.tool('redo');
    // What was painted goes along into the next job, code by code.
    await studio.task('Vary');
    await studio.quick({ steps: 4, count: 1 });
    const job = await studio.runToEnd();
    assert.deepEqual(job.request.tokens.flat(), after);
  }),

  'a code is chosen from the palette by a press, by arrow keys and by its number': at(['small', 'wide'], async (studio, { size }) => {
    await studio.open('emoji_u1f683.png');
    await studio.tool('codes');
    await studio.panel('cell');
    await studio.page.waitForSelector('.code-board canvas');
    const board = studio.page.locator('.code-board');
    const box = await board.boundingBox();
    await studio.page.mouse.move(box.x + box.width / 2, box.y + 40);
    await studio.page.mouse.down();
    await new Promise((resolve) => setTimeout(resolve, 60));
    await studio.page.mouse.up();
    await studio.frame();
    const first = await code(studio);
    assert.ok(first !== null);
    await studio.look(`palette-${size}`);
    await board.focus();
    await studio.page.keyboard.press('ArrowRight');
    await studio.page.keyboard.press('ArrowDown');
    const order = await studio.page.evaluate(async () => {
      const { byColour } = await import(new URL('studio/code_palette.js', document.baseURI));
      const { codeColours } = await import(new URL('studio/codebook.js', document.baseURI));
      return [...byColour(codeColours('mock'))];
    });
    assert.deepEqual([...order].sort((a, b) => a - b), order.map((_, k) => k), 'every code is there once');
    assert.equal(await code(studio), order[order.indexOf(first) + 17]);
    assert.match(await board.getAttribute('aria-valuetext'), new RegExp(`^code ${await code(studio)}, ${order.indexOf(first) + 18} of 512$`));
    await studio.press('#code-number');
    await studio.page.keyboard.press('Control+a');
    await studio.page.keyboard.type('448');
    await studio.page.keyboard.press('Enter');
    assert.equal(await code(studio), 448);
    await studio.panel(null);
    await studio.set({ brush: 2 });
    await studio.drag([[4, 4], [4, 5]]);
    await shows(studio, [4 * kSide + 4, 5 * kSide + 5], 448);
  }),

  'codes are picked and painted by keys alone, and let go': at(['wide'], async (studio) => {
    const { keyboard } = studio.page;
    await studio.open('emoji_u1f683.png');
    const before = await tokens(studio);
    await studio.page.locator('#stage').focus();
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowDown');
    await keyboard.press('y');
    assert.equal(await code(studio), before[kSide]);
    assert.match(await studio.page.locator('#live').innerText(), /Paint with codes|is chosen/);
    for (let k = 0; k < 7; k++) await keyboard.press('ArrowDown');
    await keyboard.press('Enter');
    await keyboard.press('Shift+ArrowRight');
    const cells = [8 * kSide, 8 * kSide + 1];
    assert.deepEqual(await studio.state(({ edit }) => [...edit.pins.keys()]), cells, 'they are chosen by hand');
    assert.match(await studio.page.locator('#live').innerText(), /row 9, column 2/);
    await shows(studio, cells, before[kSide]);
    await studio.press('[data-key="let-go"]');
    assert.equal(await studio.state(({ edit }) => edit.pins.size), 0);
  }),

  'a result that is painted on becomes the picture first': at(['phone', 'wide'], async (studio) => {
    await studio.quick({ steps: 4, count: 1 });
    await studio.run();
    await studio.tool('codes');
    await studio.set({ code: 7, brush: 1 });
    await studio.drag([[2, 2], [2, 3]]); // the window may fit the picture anew on the way
    assert.equal(await studio.state(({ shown }) => shown), 'picture');
    assert.equal((await tokens(studio))[2 * kSide + 2], 7);
    await shows(studio, [2 * kSide + 2], 7);
  }),

  'without a code it says what to do': at(['phone'], async (studio) => {
    await studio.open('emoji_u1f683.png');
    await studio.tool('codes');
    await studio.drag([[2, 2], [2, 4]]);
    await studio.page.waitForSelector('.toast');
    assert.match(await studio.page.locator('.toast').innerText(), /Choose a code first/);
    await studio.look('codes-none');
  }),
};

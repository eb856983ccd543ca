/** Every task against the shipped model, at both widths, looked at in each state. */
import { strict as assert } from 'node:assert';
import { openStudio } from '../studio.mjs';

const kFace = 'emoji_u1f9d0.png';
const at = (sizes) => (body) => async ({ browser, server, screenshots }) => {
  const { url } = await server();
  for (const size of sizes) {
    const studio = await openStudio(browser, url, { size, screenshots });
    await body(studio, size);
    await studio.close();
  }
};
const both = at(['wide', 'phone']);
const wide = at(['wide']);

/** A mouth and its surroundings: rows 11 to 13, columns 5 to 10. */
const kMouth = [[11, 5], [13, 10]];
async function paintRectangle(studio, [from, to]) {
  await studio.tool('rectangle');
  await studio.drag([from, to]);
}
const inRectangle = ([[y0, x0], [y1, x1]], cell, w = 16) => Math.floor(cell / w) >= y0 && Math.floor(cell / w) <= y1 && cell % w >= x0 && cell % w <= x1;

export default {
  'nothing is there at first, and the page says what to do': both(async (studio) => {
    assert.match(await studio.page.locator('#empty').innerText(), /From nothing, or from a picture/);
    await studio.page.waitForFunction(() => [...document.querySelectorAll('#empty .example img')].filter((image) => image.naturalWidth > 0).length === 8);
    await studio.look('start');
    await studio.task('Change');
    assert.match(await studio.page.locator('#run-why').innerText(), /Open a picture first/);
    assert.equal(await studio.page.locator('#run-bar [data-key="run"]').getAttribute('aria-disabled'), 'true');
    await studio.look('empty');
  }),

  'a sampler brings the options of its own that the service describes': wide(async (studio) => {
    await studio.page.locator('[data-key="more-options-summary"]').click();
    assert.equal(await studio.page.locator('#option-order').count(), 0);
    await studio.page.locator('#option-sampler').selectOption('masked');
    await studio.page.locator('#option-order').selectOption('halton');
    assert.equal(await studio.page.locator('#option-schedule').count(), 1);
    await studio.quick({ steps: 4, order: 'halton', sampler: 'masked' });
    await studio.look('own-options');
    const asked = studio.page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith('/api/v1/jobs'));
    await studio.start();
    const body = (await asked).postDataJSON();
    assert.equal(body.order, 'halton');
    assert.equal(body.sampler, 'masked');
    await studio.until(({ job }) => job.phase === 'done', null, 120_000);
    // Another sampler does not get them.
    await studio.page.locator('#option-sampler').selectOption('raster');
    assert.equal(await studio.page.locator('#option-order').count(), 0);
  }),

  'generate makes nine pictures, and the same nine for the same seed': both(async (studio, size) => {
    await studio.quick({ steps: 32 });
    await studio.set({ options: { ...(await studio.state((state) => state.options)), seed: 3, temperature: 0.8 }, form: {} });
    await studio.start();
    await studio.until(({ job }) => ['done', 'failed'].includes(job.phase) || (job.frame?.step >= 12 && job.previews.filter(Boolean).length === job.count), null, 120_000);
    await studio.look('generating');
    const first = await studio.done();
    assert.equal(first.count, 9);
    for (const result of first.results) {
      assert.deepEqual([result.width, result.height], [64, 64]);
      assert.ok(result.tokens.every((token) => token >= 0 && token < 512));
      assert.ok(result.order.every((step) => step >= 1 && step <= 32), 'every cell was filled at some step');
    }
    assert.equal(new Set(first.results.map(({ tokens }) => tokens.join())).size, 9, 'nine different pictures');
    assert.equal(await studio.page.locator('#sheet button').count(), 9);
    await studio.look('generated');
    if (size === 'wide') assert.deepEqual((await studio.runToEnd()).results.map(({ tokens }) => tokens), first.results.map(({ tokens }) => tokens));
    await studio.press(studio.page.locator('#sheet button').nth(4));
    assert.match(await studio.page.locator('#shown').innerText(), /5 of 9/);
    await studio.task('Change');
    assert.deepEqual(await studio.state(({ edit }) => [...edit.doc.tokens]), first.results[4].tokens, 'the chosen one goes along');
  }),

  'change makes nine variations of what is painted and leaves the rest, pixel for pixel': both(async (studio) => {
    await studio.open(kFace);
    const before = await studio.pixels();
    const codes = await studio.state(({ edit }) => [...edit.doc.tokens]);
    await paintRectangle(studio, kMouth);
    const mask = await studio.mask();
    assert.equal(mask.length, 18);
    assert.ok(mask.every((cell) => inRectangle(kMouth, cell)));
    await studio.look('change');
    const job = await studio.runToEnd();
    assert.equal(job.count, 9);
    for (const { tokens, order } of job.results) tokens.forEach((token, cell) => {
      if (inRectangle(kMouth, cell)) assert.ok(order[cell] > 0);
      else assert.equal(token, codes[cell], `cell ${cell} is kept`);
    });
    const after = await studio.pixels(0);
    let changed = 0;
    before.forEach((row, y) => row.forEach((value, x3) => {
      const x = Math.floor(x3 / 3);
      const far = y < 11 * 4 - 4 || y >= 14 * 4 + 4 || x < 5 * 4 - 4 || x >= 11 * 4 + 4; // further than the feather, one cell
      if (far) assert.equal(after[y][x3], value, `pixel ${x}, ${y} is kept`);
      else if (after[y][x3] !== value) changed++;
    }));
    assert.ok(changed > 0, 'the painted part is another');
    await studio.look('changed');
  }),

  'keep imagines everything around what is painted': both(async (studio) => {
    await studio.open(kFace);
    await studio.task('Keep');
    const codes = await studio.state(({ edit }) => [...edit.doc.tokens]);
    const kept = [[3, 3], [9, 12]];
    await paintRectangle(studio, kept);
    await studio.look('keep');
    await studio.quick({ steps: 32, count: 4 });
    const job = await studio.runToEnd();
    assert.equal(job.count, 4);
    for (const { tokens, order } of job.results) tokens.forEach((token, cell) => {
      if (inRectangle(kept, cell)) assert.equal(token, codes[cell]);
      else assert.ok(order[cell] > 0);
    });
    await studio.look('kept');
  }),

  'extend follows a dragged handle and keeps the picture inside': both(async (studio) => {
    await studio.open('emoji_u1f683.png');
    await studio.task('Extend');
    await studio.frame();
    await studio.dragSide('right', 16, async () => assert.deepEqual((await studio.canvas()).size, [128, 64], 'sixteen cells'));
    await studio.option('extend-left', '8', { done: true });
    await studio.panel(null);
    await studio.look('extend');
    const before = await studio.pixels();
    await studio.quick({ steps: 48, count: 1 });
    const job = await studio.runToEnd();
    assert.deepEqual([job.request.verb, job.width, job.height], ['outpaint', 136, 64]);
    const after = await studio.pixels(0);
    for (let y = 0; y < 64; y++) for (let x = 4; x < 60; x++) for (let c = 0; c < 3; c++) assert.equal(after[y][(x + 8) * 3 + c], before[y][x * 3 + c]);
    await studio.look('extended');
  }),

  'pieces of two pictures are joined': both(async (studio) => {
    await studio.task('Extend');
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    assert.equal(await studio.page.locator('.pieces li').count(), 2);
    await studio.panel(null);
    await studio.frame();
    // The second piece is cut to its right half.
    await studio.drag([[7.5, 15.5], [7.5, 23.5]]);
    assert.deepEqual((await studio.canvas()).pieces[1], [[32, 0, 32, 64], [96, 0]]);
    await studio.look('pieces');
    await studio.quick({ steps: 32, count: 4 });
    const job = await studio.runToEnd();
    assert.equal(job.request.verb, 'stitch');
    assert.deepEqual(job.grid, [16, 32]);
    for (const { order } of job.results) {
      const filled = order.flatMap((step, cell) => (step > 0 ? [cell % 32] : []));
      assert.equal(filled.length, 8 * 16, 'the gap alone was filled');
      assert.ok(filled.every((x) => x >= 16 && x < 24));
    }
    await studio.look('joined');
  }),

  'a wide canvas is filled through windows that are drawn': both(async (studio) => {
    await studio.task('Wide');
    await studio.option('wide-width', '160', { done: true });
    await studio.panel(null);
    assert.match(await studio.page.locator('#run-why').innerText(), /4 windows/);
    await studio.look('wide-empty');
    await studio.quick({ steps: 48 });
    await studio.start();
    await studio.until(({ job }) => ['done', 'failed'].includes(job.phase) || job.frame?.step >= 20, null, 120_000);
    await studio.look('wide-running');
    const job = await studio.done();
    assert.deepEqual([job.width, job.height], [160, 64]);
    assert.ok(job.results[0].order.every((step) => step > 0));
    await studio.look('wide');
  }),

  'windows shift at each step where that is asked for': wide(async (studio) => {
    await studio.task('Wide');
    await studio.option('wide-width', '96');
    await studio.press('#wide-random_windows');
    await studio.quick({ steps: 8 });
    const job = await studio.runToEnd();
    assert.equal(job.request.random_windows, true);
    assert.deepEqual([job.width, job.height], [96, 64]);
    assert.ok(job.results[0].order.every((step) => step > 0));
  }),

  'a piece is pasted onto a picture and the seam around it made anew': wide(async (studio) => {
    await studio.open(kFace);
    const face = await studio.state(({ edit }) => [...edit.doc.tokens]);
    await studio.task('Extend');
    await studio.open('emoji_u1f69a.png');
    // Cut to its middle, then laid on the face; the ground beside that goes.
    for (const [from, to] of [[[7.5, 15.5], [7.5, 19.5]], [[7.5, 31.5], [7.5, 23.5]], [[-0.5, 21.5], [3.5, 21.5]], [[15.5, 21.5], [7.5, 21.5]], [[5.5, 21.5], [7.5, 7.5]]]) await studio.drag([from, to]);
    await studio.option('extend-right', '0', { done: true });
    assert.deepEqual(await studio.canvas(), { size: [64, 64], pieces: [[[0, 0, 64, 64], [0, 0]], [[16, 16, 16, 16], [24, 24]]] });
    await studio.press('#extend-onto');
    await studio.option('extend-seam', '4');
    await studio.quick({ steps: 8, count: 1 });
    const job = await studio.runToEnd();
    assert.deepEqual([job.width, job.height, job.request.seam, job.request.pieces.length], [64, 64, 4, 1]);
    const { tokens, order } = job.results[0];
    tokens.forEach((token, cell) => {
      const [y, x] = [Math.floor(cell / 16), cell % 16];
      const piece = y >= 6 && y < 10 && x >= 6 && x < 10;
      const around = !piece && y >= 5 && y < 11 && x >= 5 && x < 11;
      if (around) assert.ok(order[cell] > 0, `cell ${cell} is of the seam`);
      if (!piece && !around) assert.equal(token, face[cell], `cell ${cell} is the picture's`);
    });
  }),

  'a small change of a large picture leaves the rest of it alone': wide(async (studio) => {
    await studio.page.evaluate(async () => {
      const { takeIn } = await import(new URL('studio/documents.js', document.baseURI));
      const canvas = Object.assign(document.createElement('canvas'), { width: 192, height: 160 });
      const context = canvas.getContext('2d');
      const sky = context.createLinearGradient(0, 0, 192, 160);
      sky.addColorStop(0, '#ffd93b');
      sky.addColorStop(1, '#3b78ff');
      context.fillStyle = sky;
      context.fillRect(0, 0, 192, 160);
      await takeIn(canvas, 'Photo');
    });
    await studio.press(studio.page.locator('.toast button', { hasText: 'Keep full size' }));
    await studio.settled();
    assert.deepEqual(await studio.state(({ edit }) => [edit.doc.width, edit.doc.height, edit.doc.h, edit.doc.w]), [192, 160, 40, 48]);
    await studio.frame();
    const before = await studio.pixels();
    await paintRectangle(studio, [[20, 30], [22, 33]]);
    await studio.quick({ steps: 8, count: 1 });
    const job = await studio.runToEnd();
    assert.deepEqual([job.width, job.height, ...job.grid], [192, 160, 16, 16], 'a part of the codec\'s own size is filled');
    const after = await studio.pixels(0);
    let changed = 0;
    after.forEach((row, y) => row.forEach((value, x3) => {
      const x = Math.floor(x3 / 3);
      const near = y >= 19 * 4 && y < 24 * 4 && x >= 29 * 4 && x < 35 * 4;
      if (!near) assert.equal(value, before[y][x3], `pixel ${x}, ${y} is kept`);
      else if (value !== before[y][x3]) changed++;
    }));
    assert.ok(changed > 0);
  }),

  'what was generated keeps its codes where it is not painted': wide(async (studio) => {
    await studio.quick({ steps: 16, count: 1 });
    const made = (await studio.runToEnd()).results[0].tokens;
    await studio.task('Change');
    await paintRectangle(studio, kMouth);
    await studio.quick({ steps: 8, count: 1 });
    const { tokens } = (await studio.runToEnd()).results[0];
    tokens.forEach((token, cell) => inRectangle(kMouth, cell) || assert.equal(token, made[cell], `cell ${cell}`));
  }),

  'vary opens the share of cells that strength says': both(async (studio) => {
    await studio.open(kFace);
    await studio.task('Vary');
    await studio.option('vary-strength', '0.25');
    assert.match(await studio.page.locator('#run-why').innerText(), /64 of 256 cells/);
    await studio.panel('task');
    await studio.page.locator('#vary-by').selectOption('likelihood');
    await studio.panel(null);
    await studio.quick({ steps: 16, count: 4 });
    const job = await studio.runToEnd();
    for (const { order } of job.results) assert.equal(order.filter((step) => step > 0).length, 64);
    await studio.look('varied');
  }),
};

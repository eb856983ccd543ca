/** The tools that mark cells, with mouse, touch and pen; undo and redo. */
import { strict as assert } from 'node:assert';
import { openStudio } from '../studio.mjs';

const opened = (body, options = {}) => async ({ browser, server, screenshots }) => {
  const studio = await openStudio(browser, (await server()).url, { screenshots, ...options });
  await studio.open('emoji_u1f9d0.png');
  await body(studio);
  await studio.close();
};
const at = (y, x) => y * 16 + x;
const block = (y0, x0, y1, x1) => Array.from({ length: y1 - y0 + 1 }, (_, j) => Array.from({ length: x1 - x0 + 1 }, (__, i) => at(y0 + j, x0 + i))).flat();

export default {
  'a brush marks whole cells along its way, brackets size it, the eraser takes away': opened(async (studio) => {
    await studio.page.keyboard.press('[');
    assert.equal(await studio.state((state) => state.brush), 1);
    await studio.drag([[4, 2], [4, 9]]);
    assert.deepEqual(await studio.mask(), block(4, 2, 4, 9));
    await studio.page.keyboard.press(']');
    await studio.page.keyboard.press(']');
    assert.equal(await studio.state((state) => state.brush), 3);
    await studio.drag([[10, 10], [10, 10]]);
    assert.deepEqual(await studio.mask(), [...block(4, 2, 4, 9), ...block(9, 9, 11, 11)]);
    await studio.page.keyboard.press('e');
    await studio.drag([[10, 10], [10, 10]]);
    assert.deepEqual(await studio.mask(), block(4, 2, 4, 9));
  }),

  'a rectangle, and one with Alt that takes away': opened(async (studio) => {
    await studio.page.keyboard.press('r');
    await studio.drag([[12, 11], [3, 4]]);
    assert.deepEqual(await studio.mask(), block(3, 4, 12, 11));
    await studio.drag([[3, 4], [12, 7]], { hold: ['Alt'] });
    assert.deepEqual(await studio.mask(), block(3, 8, 12, 11));
  }),

  'a lasso marks what it goes around': opened(async (studio) => {
    await studio.page.keyboard.press('l');
    await studio.drag([[3, 3], [3, 12], [12, 12], [12, 3], [3, 3]]);
    assert.deepEqual(await studio.mask(), block(3, 3, 12, 12));
    await studio.look('lasso');
  }),

  'invert, clear, undo and redo': opened(async (studio) => {
    await studio.page.keyboard.press('r');
    await studio.drag([[0, 0], [1, 15]]);
    await studio.page.keyboard.press('x');
    assert.deepEqual(await studio.mask(), block(2, 0, 15, 15));
    await studio.page.keyboard.press('Delete');
    assert.deepEqual(await studio.mask(), []);
    await studio.page.keyboard.press('Control+z');
    await studio.page.keyboard.press('Control+z');
    assert.deepEqual(await studio.mask(), block(0, 0, 1, 15));
    await studio.page.keyboard.press('Control+Shift+z');
    assert.deepEqual(await studio.mask(), block(2, 0, 15, 15));
    await studio.tool('undo');
    await studio.tool('undo');
    assert.deepEqual(await studio.mask(), []);
    assert.notEqual(await studio.state(({ edit }) => edit.doc), null);
  }),

  'a finger paints, two fingers pinch and paint nothing': opened(async (studio) => {
    const cdp = await studio.context.newCDPSession(studio.page);
    const touch = (type, ...points) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(({ x, y }, id) => ({ x, y, id })) });
    await studio.page.evaluate(() => window.scrollTo(0, 0));
    const a = await studio.place(5, 5);
    const b = await studio.place(5, 9);
    await touch('touchStart', a);
    for (let k = 1; k <= 5; k++) await touch('touchMove', { x: a.x + ((b.x - a.x) * k) / 5, y: a.y });
    await touch('touchEnd');
    const painted = await studio.mask();
    assert.ok(painted.includes(at(5, 5)) && painted.includes(at(5, 8)), 'the finger painted');
    const scale = () => studio.page.evaluate(async () => (await import(new URL('studio/stage.js', document.baseURI))).currentScale());
    const before = await scale();
    const [left, right] = [await studio.place(9, 6), await studio.place(9, 9)];
    await touch('touchStart', left);
    await touch('touchStart', left, right);
    for (let k = 1; k <= 5; k++) await touch('touchMove', { x: left.x - 8 * k, y: left.y }, { x: right.x + 8 * k, y: right.y });
    await touch('touchEnd');
    assert.ok((await scale()) > before * 1.3, 'the pinch zoomed');
    assert.deepEqual(await studio.mask(), painted, 'and left the mask alone');
  }, { size: 'phone', touch: true }),

  'a mask goes out as a file and comes in again': opened(async (studio) => {
    await studio.page.keyboard.press('r');
    await studio.drag([[3, 4], [5, 11]]);
    const painted = await studio.mask();
    await studio.panel('task');
    const wanted = studio.page.waitForEvent('download');
    await studio.press('[data-key="change-mask-save"]');
    const download = await wanted;
    assert.equal(download.suggestedFilename(), 'emoji_u1f9d0-mask.png');
    const file = await download.path();
    await studio.page.keyboard.press('Delete');
    assert.deepEqual(await studio.mask(), []);
    const chooser = studio.page.waitForEvent('filechooser');
    await studio.press('[data-key="change-mask-open"]');
    await (await chooser).setFiles(file);
    await studio.until(({ edit }) => edit.mask.some((set) => set));
    assert.deepEqual(await studio.mask(), painted);
  }),

  'a pen paints': opened(async (studio) => {
    const cdp = await studio.context.newCDPSession(studio.page);
    const point = await studio.place(7, 7);
    for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) await cdp.send('Input.dispatchMouseEvent', { type, ...point, button: type === 'mouseMoved' ? 'none' : 'left', clickCount: 1, pointerType: 'pen' });
    await studio.frame();
    assert.ok((await studio.mask()).includes(at(7, 7)));
  }),

  'what does not fit is shown and painted': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const studio = await openStudio(browser, (await server()).url, { size, screenshots });
      await studio.open('emoji_u1f9d0.png');
      await studio.panel('task');
      await studio.press('[data-key="surprise"]');
      await studio.until(({ surprise }) => surprise?.shown === true, null, 120_000);
      const nats = await studio.state(({ surprise }) => [...surprise.nats]);
      assert.equal(nats.length, await studio.state(({ edit }) => edit.doc.h * edit.doc.w));
      assert.ok(nats.every((value) => value >= 0));
      await studio.panel(null);
      await studio.look('surprise');
      await studio.panel('task');
      await studio.press('[data-key="surprise-paint"]');
      const painted = await studio.mask();
      assert.equal(painted.length, Math.round(nats.length / 10));
      const least = Math.min(...painted.map((cell) => nats[cell]));
      assert.ok(nats.every((value, cell) => painted.includes(cell) || value <= least), 'the least likely ones');
      assert.equal(await studio.state(({ surprise }) => surprise.shown), false);
      await studio.tool('undo');
      assert.deepEqual(await studio.mask(), []);
      await studio.close();
    }
  },
};

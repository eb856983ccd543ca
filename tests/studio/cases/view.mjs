/** Looking: the grid, the fade, pan and zoom, compare, play-back, themes. */
import { strict as assert } from 'node:assert';
import { at } from '../stand_in.mjs';
import { openStudio } from '../studio.mjs';

const opened = (body, options = {}) => async ({ browser, server, screenshots }) => {
  const studio = await openStudio(browser, (await server()).url, { screenshots, ...options });
  await studio.open('emoji_u1f9d0.png');
  await body(studio);
  await studio.close();
};
const scale = (studio) => studio.page.evaluate(async () => (await import(new URL('studio/stage.js', document.baseURI))).currentScale());
/** Bytes of what the stage shows. */
const shown = (studio) => studio.page.evaluate(() => document.getElementById('picture').toDataURL());

export default {
  'the cell under the pointer is named with its code': opened(async (studio) => {
    const point = await studio.place(2, 9);
    await studio.page.mouse.move(point.x, point.y);
    await studio.frame();
    const code = await studio.state(({ edit }) => edit.doc.tokens[2 * 16 + 9]);
    assert.equal(await studio.page.locator('#cell-label').innerText(), `row 3 · column 10 · code ${code}`);
  }),

  'a slider fades from the picture to its codes': opened(async (studio) => {
    const picture = await shown(studio);
    await studio.page.locator('#blend').fill('50');
    await studio.look('blend');
    const half = await shown(studio);
    await studio.page.locator('#blend').fill('100');
    await studio.look('codes');
    const codes = await shown(studio);
    assert.equal(new Set([picture, half, codes]).size, 3);
    await studio.page.locator('#blend').fill('0');
    await studio.frame();
    assert.equal(await shown(studio), picture);
  }),

  'the wheel zooms where the pointer is, a drag with space pans, zero fits': opened(async (studio) => {
    const before = await scale(studio);
    const point = await studio.place(3, 3);
    await studio.page.mouse.move(point.x, point.y);
    await studio.page.mouse.wheel(0, -400);
    await studio.frame();
    assert.ok((await scale(studio)) > before * 1.5);
    const held = await studio.place(3, 3);
    assert.ok(Math.hypot(held.x - point.x, held.y - point.y) < 1.5, 'the cell under the pointer stays there');
    await studio.page.locator('#stage').focus();
    await studio.page.keyboard.down('Space');
    await studio.page.mouse.down();
    await studio.page.mouse.move(point.x + 60, point.y + 30, { steps: 4 });
    await studio.page.mouse.up();
    await studio.page.keyboard.up('Space');
    await studio.frame();
    const moved = await studio.place(3, 3);
    assert.ok(Math.abs(moved.x - held.x - 60) < 1.5 && Math.abs(moved.y - held.y - 30) < 1.5);
    assert.deepEqual(await studio.mask(), [], 'panning painted nothing');
    await studio.page.keyboard.press('0');
    await studio.frame();
    assert.ok(Math.abs((await scale(studio)) - before) < 1e-6);
  }),

  'the original is shown while compare is held, the un-masking plays back': opened(async (studio) => {
    await studio.tool('rectangle');
    await studio.drag([[10, 4], [13, 11]]);
    await studio.page.keyboard.press('Control+Enter');
    await studio.page.waitForTimeout(50);
    await studio.done();
    await studio.page.keyboard.press('PageDown');
    await studio.page.mouse.move(2, 2);
    await studio.frame();
    const result = await shown(studio);
    await studio.page.keyboard.down('c');
    await studio.frame();
    const compared = await shown(studio);
    assert.notEqual(compared, result);
    await studio.page.keyboard.up('c');
    await studio.frame();
    assert.equal(await shown(studio), result);

    const span = await studio.state(({ job }) => job.span);
    const scrubber = studio.page.locator('#player input');
    await scrubber.fill(String(Math.round((span.first + span.last) / 2)));
    await studio.frame();
    const open = await studio.page.evaluate(async () => {
      const { currentScene } = await import(new URL('studio/stage.js', document.baseURI));
      return currentScene().open.reduce((sum, value) => sum + value, 0);
    });
    assert.ok(open > 0 && open < 32, `${open} cells are open half way`);
    await studio.page.waitForFunction(async () => {
      const [{ currentScene }, { store }] = await Promise.all(['stage', 'store'].map((name) => import(new URL(`studio/${name}.js`, document.baseURI))));
      const { job } = store.get();
      return currentScene().image !== job.results[job.selected].image && currentScene().unseen.length === 0;
    }, null, { timeout: 15_000 }); // the codes that were there by then, decoded
    await studio.look('play-back');
    await scrubber.fill(String(span.first));
    await studio.frame();
    assert.equal(await studio.page.evaluate(async () => (await import(new URL('studio/stage.js', document.baseURI))).currentScene().open.reduce((sum, value) => sum + value, 0)), 32);
    await studio.press(studio.page.locator('#player button:not([data-key])'));
    await studio.until((state) => state.job.playStep === null, null, 15_000);
  }),

  'a divider shows the original on its left and what became of it on its right': opened(async (studio) => {
    assert.ok(await studio.page.locator('#view-buttons [aria-label^="Divide"]').isDisabled(), 'nothing to compare yet');
    await studio.tool('rectangle');
    await studio.drag([[2, 2], [13, 13]]);
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').first());
    await studio.page.mouse.move(2, 2);
    const column = (x) => studio.page.evaluate(async (cell) => {
      const stage = await import(new URL('studio/stage.js', document.baseURI));
      const canvas = document.getElementById('picture');
      const ratio = canvas.width / stage.stageSize().width;
      const at = stage.placeOf({ y: 5, x: cell });
      return [...canvas.getContext('2d').getImageData(Math.round(at.x * ratio), Math.round(at.y * ratio), 1, 200).data].join();
    }, x);
    const result = [await column(4), await column(11)];
    await studio.page.keyboard.down('c');
    await studio.frame();
    const original = [await column(4), await column(11)];
    await studio.page.keyboard.up('c');
    await studio.press('#view-buttons [aria-label^="Divide"]');
    await studio.page.mouse.move(2, 2);
    await studio.frame();
    assert.deepEqual([await column(4), await column(11)], [original[0], result[1]]);
    await studio.look('divided');
    // Dragged to the right of both.
    const from = await studio.place(3, 7.5);
    const to = await studio.place(3, 14.5);
    await studio.page.mouse.move(from.x, from.y);
    await studio.page.mouse.down();
    await studio.page.mouse.move(to.x, to.y, { steps: 5 });
    await studio.page.mouse.up();
    await studio.page.mouse.move(2, 2);
    await studio.frame();
    assert.deepEqual([await column(4), await column(11)], original);
    await studio.page.keyboard.press('j');
    await studio.frame();
    assert.deepEqual([await column(4), await column(11)], result);
  }),

  'the theme follows the system and can be turned': async ({ browser, server, screenshots }) => {
    const studio = await openStudio(browser, (await server()).url, { screenshots, dark: true });
    await studio.open('emoji_u1f9d0.png');
    const ground = () => studio.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await studio.tool('rectangle');
    await studio.drag([[10, 4], [13, 11]]);
    await studio.look('change');
    await studio.press(studio.page.locator('#theme'));
    assert.equal(await studio.page.locator('#theme').getAttribute('aria-label'), 'Colours: light');
    assert.notEqual(await ground(), dark);
    await studio.page.reload();
    await studio.page.waitForFunction(() => document.querySelector('#model').options.length > 0);
    assert.notEqual(await ground(), dark, 'the choice is kept');
    await studio.close();
  },

  'the model\'s best guess of the whole is seen while it un-masks': at(['phone', 'wide'], async (studio) => {
    await studio.set({ options: { steps: 14, count: 1 } });
    await studio.start();
    await studio.page.waitForSelector('[data-key="guess"]');
    await studio.press('[data-key="guess"]');
    await studio.until(({ guess, job }) => guess && job.guesses.length === 1);
    const veiled = () => studio.page.evaluate(async () => {
      const [{ store }, { sceneOf }] = await Promise.all(['store', 'scene'].map((name) => import(new URL(`studio/${name}.js`, document.baseURI))));
      const { guessed, open, image } = sceneOf(store.get());
      return { guessed, open: open !== null && open.includes(1), whole: image !== null };
    });
    assert.deepEqual(await veiled(), { guessed: true, open: true, whole: true });
    await studio.look('best-guess');
    await studio.finished();
    assert.equal((await veiled()).guessed, false, 'what is done is no guess');
    const waiting = studio.page.waitForEvent('download');
    await studio.press('[data-key="film"]');
    assert.match((await waiting).suggestedFilename(), /unmasking\.webp$/);
    await studio.look('after-guess');
  }, { slow: true }),
};

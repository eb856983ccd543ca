/** The page in windows of every size: nothing reaches beyond them, nothing lies over another, in both themes. */
import { strict as assert } from 'node:assert';
import { startMock } from '../mock_server.mjs';
import { at, dropPhotograph, every, root } from '../stand_in.mjs';
import { openStudio } from '../studio.mjs';

export default {
  'the page fits its window in every state': every(async (studio, { size }) => {
    await studio.fits('start');
    for (const part of ['#tasks button:last-child', '#run-bar button', '#open']) assert.ok(await studio.page.locator(part).last().isVisible(), part);
    await studio.panel('task');
    await studio.look(`panel-${size}`);
    for (const panel of ['cell', 'history']) {
      await studio.panel(panel);
      await studio.fits(panel);
    }
    await studio.panel(null);
    await studio.run();
    await studio.look(`results-${size}`);
    await studio.task('Change');
    await studio.drag([[4, 4], [6, 9]]);
    await studio.look(`painted-${size}`);
    await studio.task('Extend');
    await studio.fits('extend');
    // The whole row of tasks is within reach.
    const last = await studio.page.locator('#tasks button').last().boundingBox();
    const { width, height } = studio.page.viewportSize();
    assert.ok(last.x + last.width <= width && last.y + last.height <= height);
  }, { condition: 'text' }),

  'it fits at every width in between, lying and standing': at(['wide'], async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [6, 9]]);
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').first());
    for (const width of [320, 344, 360, 375, 390, 412, 430, 480, 540, 600, 700, 744, 759, 760, 768, 820, 860, 861, 912, 1024, 1100, 1101, 1280, 1440, 1699, 1700, 1920, 2560])
      for (const height of width < 560 ? [568, 844] : [320, 390, 600, 1080]) {
        await studio.page.setViewportSize({ width, height });
        await studio.frame();
        await studio.fits(`${width} x ${height}`);
        const stage = await studio.page.locator('#stage').boundingBox();
        assert.ok(stage.height >= 100 && stage.width >= 240, `the stage is ${stage.width} x ${stage.height} at ${width} x ${height}`);
      }
  }, { condition: 'text', models: ['a-model-with-quite-a-long-name', 'second'] }),

  'the same in the dark': async ({ browser, screenshots }) => {
    for (const size of ['phone', 'wide']) {
      const mock = await startMock({ root, troubles: { condition: 'text' } });
      const studio = await openStudio(browser, mock.url, { size, screenshots, dark: true });
      await studio.page.waitForSelector('#empty .chip');
      await studio.look('dark-start');
      await studio.press('#about');
      await studio.look('dark-card');
      await studio.page.keyboard.press('Escape');
      await studio.panel(null);
      await dropPhotograph(studio, 1600, 1200);
      await studio.until(({ edit }) => edit.doc !== null);
      await studio.settled();
      await studio.look('dark-note');
      await studio.tool('area');
      await studio.look('dark-area');
      await studio.tool('brush');
      await studio.drag([[4, 4], [6, 9]]);
      await studio.look('dark-painted');
      await studio.run();
      await studio.look('dark-results');
      await studio.panel('history');
      await studio.press('[data-key="clear-history"]');
      await studio.look('dark-ask');
      await studio.close();
      await mock.stop();
    }
  },

  'on a phone the panels are drawn up and down, by a tap, a drag and Escape': at(['small', 'phone'], async (studio) => {
    const open = () => studio.page.locator('#side').getAttribute('data-open');
    assert.equal(await open(), 'false');
    await studio.press('#tab-history');
    assert.equal(await open(), 'true');
    assert.ok(await studio.page.locator('#panel-history').isVisible());
    await studio.page.keyboard.press('Escape');
    assert.equal(await open(), 'false');
    const head = await studio.page.locator('.side-head').boundingBox();
    await studio.page.mouse.move(head.x + head.width * 0.75, head.y + 20);
    await studio.page.mouse.down();
    await studio.page.mouse.move(head.x + head.width * 0.75, head.y - 60, { steps: 6 });
    await studio.page.mouse.up();
    assert.equal(await open(), 'true');
    await studio.fits('drawn up');
    await studio.press('#drawer');
    assert.equal(await open(), 'false');
    assert.ok(await studio.page.locator('#run-bar button').isVisible());
  }),

  'notes lie over no control': every(async (studio, { mock }) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.page.evaluate(async () => {
      const { toast } = await import(new URL('studio/announce.js', document.baseURI));
      toast('A note that is as long as the longest of them, so that it needs more than one line on a small window.', { action: { label: 'Undo', run() {} } });
      toast('And a fault.', { bad: true });
    });
    void mock;
    await studio.look('notes');
  }),
};

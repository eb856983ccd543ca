/** What once stood in the way of a first visitor, with the timing of hands: presses, seams, words, the history. */
import { strict as assert } from 'node:assert';
import { startMock } from '../mock_server.mjs';
import { at, every, root, seeds, wait, why } from '../stand_in.mjs';
import { openStudio } from '../studio.mjs';

export default {
  'a number is typed and the big button pressed: the click counts': every(async (studio) => {
    await studio.task('Wide');
    for (const width of ['96', '128']) {
      await studio.option('wide-width', width);
      const job = await studio.run();
      assert.equal(job.phase, 'done');
      assert.equal(job.width, Number(width), 'and so does the number');
    }
  }),

  'a number typed into a task that lacked one, then the button': every(async (studio) => {
    await studio.open('emoji_u1f683.png');
    await studio.task('Extend');
    await studio.option('extend-right', '16');
    assert.equal((await studio.run()).width, 80);
  }),

  'a number half typed outlives a redraw of its form, and a slider moved beside it keeps its place': at(['phone', 'wide'], async (studio) => {
    await studio.open('emoji_u1f683.png');
    await studio.task('Extend');
    await studio.option('extend-right', '16');
    await studio.set({ form: {} }); // as an answer of the server does
    await studio.frame();
    assert.equal(await studio.page.locator('#extend-right').inputValue(), '16');
    // Pressing the slider finishes the number, which redraws the form under the press.
    const slider = studio.page.locator('#option-temperature');
    await slider.evaluate((element) => element.scrollIntoView({ block: 'center' }));
    const { x, y, width, height } = await slider.boundingBox();
    await studio.page.mouse.move(x + width * 0.6, y + height / 2);
    await studio.page.mouse.down();
    await wait(80);
    await studio.page.mouse.move(x + width * 0.3, y + height / 2, { steps: 4 });
    await studio.page.mouse.up();
    await studio.frame();
    const temperature = await studio.state(({ options }) => options.temperature);
    assert.ok(temperature < 0.6, `${temperature}`);
    assert.equal(Number(await slider.inputValue()), temperature);
    assert.deepEqual((await studio.canvas()).size, [80, 64]);
  }),

  'a finger types a number and taps the button': async ({ browser }) => {
    for (const size of ['small', 'phone', 'tablet']) {
      const mock = await startMock({ root });
      const studio = await openStudio(browser, mock.url, { size, touch: true });
      const tap = async (target) => {
        const { x, y, width, height } = await studio.page.locator(target).boundingBox();
        await studio.page.touchscreen.tap(x + width / 2, y + height / 2);
        await studio.frame();
      };
      await studio.task('Wide');
      await studio.panel('task');
      await tap('#wide-width');
      await studio.page.keyboard.press('Control+a');
      await studio.page.keyboard.type('96');
      await tap('#run-bar [data-key="run"]');
      const job = await studio.finished();
      assert.deepEqual([job.phase, job.width], ['done', 96]);
      await studio.close();
      await mock.stop();
    }
  },

  'cancel is pressed while the steps go by: the press counts': every(async (studio) => {
    await studio.start();
    await studio.until(({ job }) => job?.phase === 'running');
    await studio.press('#run-bar [data-key="run"]', { held: 900 }); // two steps long
    assert.equal((await studio.finished()).phase, 'cancelled');
  }, { slow: true }),

  'the play-back is paused while it plays, and a result used': at(['phone', 'wide'], async (studio) => {
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').nth(1));
    await studio.press('#player button:not([data-key])');
    await studio.until(({ job }) => job.playStep !== null);
    await studio.press('#player button:not([data-key])');
    assert.equal(await studio.page.locator('#player button:not([data-key])').getAttribute('aria-label'), 'Play the order of un-masking');
    await studio.press('#player button:not([data-key])');
    await studio.press('#shown [data-key="use"]');
    assert.notEqual(await studio.state(({ edit }) => edit.doc), null);
  }),

  'a number out of range becomes the nearest one, and that is said': at(['phone', 'wide'], async (studio) => {
    await studio.task('Wide');
    await studio.option('wide-width', '99999', { done: true });
    assert.equal(await studio.page.locator('#wide-width').inputValue(), '2048');
    assert.match(await studio.page.locator('.toast').innerText(), /99999 became 2048/);
    await studio.option('wide-width', '97', { done: true });
    assert.equal(await studio.page.locator('#wide-width').inputValue(), '96');
  }),

  'what would change nothing says so before it runs': every(async (studio) => {
    const run = studio.page.locator('#run-bar [data-key="run"]');
    const refused = async (words) => {
      assert.match(await why(studio), words);
      assert.equal(await run.getAttribute('aria-disabled'), 'true');
      const before = await studio.state(({ job }) => job?.id ?? null);
      await studio.press(run);
      assert.match(await studio.page.locator('.toast').last().innerText(), words, 'a press says why');
      assert.equal(await studio.state(({ job }) => job?.id ?? null), before);
    };
    await studio.task('Change');
    await refused(/Open a picture first/);
    await studio.open('emoji_u1f683.png');
    await refused(/Paint over the part that should change/);
    await studio.task('Keep');
    await studio.panel(null);
    await studio.page.keyboard.press('x');
    await refused(/All cells are kept/);
    await studio.task('Extend');
    await refused(/Drag a handle/);
    await studio.open('emoji_u1f69a.png');
    await studio.option('extend-seam', '0');
    await refused(/leave no cell to be made/);
    await studio.press('[data-key="remove-2"]');
    assert.match(await why(studio), /256 of 512 cells will be made/, 'its ground is open');
    await studio.option('extend-right', '0', { done: true });
    await refused(/Drag a handle/);
    await studio.press('[data-key="remove-1"]');
    await refused(/Add a picture/);
  }),

  'a canvas that the server would refuse is said to be too large before it is sent': at(['phone', 'wide'], async (studio) => {
    await studio.task('Wide');
    await studio.option('wide-width', '2048', { done: true });
    await studio.option('wide-height', '2048', { done: true });
    assert.match(await why(studio), /2048 × 2048 pixels: this server makes at most 1.0 million at once/);
    await studio.press('#run-bar [data-key="run"]');
    assert.equal(await studio.state(({ job }) => job), null);
    await studio.option('wide-height', '64');
    assert.equal((await studio.run()).phase, 'done');
  }, { limits: { max_pixels: 1 << 20 } }),

  'words beyond what the model reads are said, and the example is one of its own': every(async (studio) => {
    await studio.panel('task');
    await studio.page.waitForFunction(() => document.querySelector('#option-prompt')?.placeholder !== '');
    assert.equal(await studio.page.locator('#option-prompt').getAttribute('placeholder'), 'open hands: dark skin tone');
    await studio.option('option-prompt', `${'many '.repeat(30)}unread words`);
    await studio.page.waitForFunction(() => document.querySelector('#option-prompt-left').innerText === 'Not read, the model takes 30 tokens: unread words');
    assert.match(await studio.page.locator('#option-prompt-count').innerText(), /32 of 30 tokens/);
    await studio.look('words-left-out');
  }, { condition: 'text' }),

  'earlier words are at hand again': at(['phone', 'wide'], async (studio) => {
    await studio.option('option-prompt', 'a red house');
    await studio.run();
    await studio.option('option-prompt', 'a blue one');
    await studio.run();
    await studio.panel('task');
    await studio.press('.earlier summary');
    await studio.look('earlier');
    await studio.press(studio.page.locator('.earlier button', { hasText: 'a red house' }));
    assert.equal(await studio.page.locator('#option-prompt').inputValue(), 'a red house');
    assert.equal((await studio.run()).request.prompt, 'a red house');
  }, { condition: 'text' }),

  'nothing is sent that was not set': every(async (studio) => {
    for (const task of ['Generate', 'Wide']) {
      await studio.task(task);
      const { request } = await studio.run();
      const sent = Object.keys(request).filter((name) => request[name] !== undefined).sort();
      assert.deepEqual(sent.filter((name) => !['width', 'height', 'stride'].includes(name)), ['count', 'model', 'seed', 'verb']);
    }
    await studio.option('option-temperature', '0.7');
    assert.equal((await studio.run()).request.temperature, 0.7);
  }, { condition: 'text' }),

  'the history asks before it is cleared, and gives back what was removed': every(async (studio) => {
    await studio.run();
    await studio.panel('history');
    await studio.press('[data-key="clear-history"]');
    await studio.look('ask');
    await studio.press(studio.page.locator('#ask-dialog button', { hasText: 'Keep it' }));
    assert.equal(await studio.page.locator('.entry').count(), 1);
    await studio.press('.entry [data-key$="-trash"]');
    assert.equal(await studio.page.locator('.entry').count(), 0);
    await studio.press(studio.page.locator('.toast button', { hasText: 'Undo' }));
    assert.equal(await studio.page.locator('.entry').count(), 1);
    await studio.press('[data-key="clear-history"]');
    await studio.press(studio.page.locator('#ask-dialog button', { hasText: 'Clear it' }));
    assert.equal(await studio.page.locator('.entry').count(), 0);
    await studio.press(studio.page.locator('.toast button', { hasText: 'Undo' }).last());
    assert.equal(await studio.page.locator('.entry').count(), 1);
  }),

  'words from right to left stay whole in the history': every(async (studio) => {
    const words = 'דוב בבריכה, 3 כדורים';
    await studio.option('option-prompt', words);
    await studio.run();
    await studio.panel('history');
    const prompt = studio.page.locator('.entry-prompt');
    assert.equal(await prompt.innerText(), words);
    assert.equal(await prompt.evaluate((element) => getComputedStyle(element).direction), 'rtl');
    assert.equal(await studio.page.locator('.entry .facts').evaluate((element) => getComputedStyle(element).direction), 'ltr');
    await studio.look('right-to-left');
  }, { condition: 'text' }),

  'a sampler that changes every cell at each step does not cover the picture with borders': every(async (studio) => {
    await studio.start();
    await studio.until(({ job }) => job?.frame?.step >= 3 && job.frame.before !== null);
    const fresh = await studio.page.evaluate(async () => {
      const { currentScene } = await import(new URL('studio/stage.js', document.baseURI));
      return currentScene().fresh.length;
    });
    assert.ok(fresh < 0.25 * 256, `${fresh} of 256 cells have a border`);
    await studio.press('#run-bar [data-key="run"]');
    await studio.finished();
  }, { restless: true, slow: true }),
};

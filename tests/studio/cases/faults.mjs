/** What once stood in the way of a first visitor: each with the timing of hands, at every width, against the stand-in server. */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startMock } from '../mock_server.mjs';
import { source } from '../options.mjs';
import { openStudio } from '../studio.mjs';

const root = join(source, 'src/server/studio');
const kEvery = ['small', 'phone', 'tablet', 'wide', 'large'];
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A case on a fresh page for each size; the stand-in makes these troubles. */
const at = (sizes, body, troubles = {}) => async ({ browser, screenshots }) => {
  for (const size of sizes) {
    const mock = await startMock({ root, troubles: { ...troubles } });
    const studio = await openStudio(browser, mock.url, { size, screenshots, expectErrors: Object.keys(troubles).length > 0 });
    await body(studio, { mock, size });
    await studio.close();
    await mock.stop();
  }
};
const every = (body, troubles) => at(kEvery, body, troubles);

const why = (studio) => studio.page.locator('#run-why').innerText();
const seeds = (studio) => studio.state(({ job }) => job.results.map(({ tokens }) => [...tokens].join()));

/** A picture made in the page: bands of colour, so that every pixel can be foretold. Dropped as a file is. */
const dropPhotograph = (studio, width, height, name = 'photograph') => studio.page.evaluate(async ([w, h, called]) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: w, height: h });
  const context = canvas.getContext('2d');
  for (let k = 0; k < 16; k++) {
    context.fillStyle = `hsl(${k * 22} 70% 55%)`;
    context.fillRect((k * w) / 16, 0, w / 16 + 1, h);
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const data = new DataTransfer();
  data.items.add(new File([blob], `${called}.png`, { type: 'image/png' }));
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}, [width, height, name]);

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
    assert.equal(await studio.state(({ edit }) => edit.borders.right), 16);
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
    await studio.press('#player button');
    await studio.until(({ job }) => job.playStep !== null);
    await studio.press('#player button');
    assert.equal(await studio.page.locator('#player button').getAttribute('aria-label'), 'Play the order of un-masking');
    await studio.press('#player button');
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

  'two pictures side by side leave a seam to be made, and the results differ': every(async (studio) => {
    await studio.task('Stitch');
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    assert.match(await why(studio), /128 × 64 pixels, 64 of 512 cells will be made/);
    const job = await studio.run();
    assert.equal(job.count, 4);
    for (const { order } of job.results) {
      const columns = new Set(order.flatMap((step, cell) => (step > 0 ? [cell % 32] : [])));
      assert.deepEqual([...columns].sort((a, b) => a - b), [14, 15, 16, 17]);
    }
    assert.equal(new Set(await seeds(studio)).size, 4, 'four different joins');
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
    await studio.task('Stitch');
    await refused(/Add a picture/);
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    await studio.option('stitch-seam', '0');
    await refused(/leave no cell to be made/);
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

  'a piece over another opens a seam around it': at(['wide'], async (studio) => {
    await studio.task('Stitch');
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    // The second is cut to its upper left quarter and laid over the first.
    await studio.page.evaluate(async () => {
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const { edit } = store.get();
      store.set({ edit: { ...edit, canvas: { width: 64, height: 64 }, pieces: [edit.pieces[0], { ...edit.pieces[1], from: [0, 0, 32, 32], to: [16, 16] }] } });
    });
    await studio.option('stitch-seam', '4');
    const job = await studio.run();
    const open = new Set(job.results[0].order.flatMap((step, cell) => (step > 0 ? [cell] : [])));
    for (let y = 0; y < 16; y++) for (let x = 0; x < 16; x++) {
      const inside = y >= 4 && y < 12 && x >= 4 && x < 12;
      const edge = inside && (y === 4 || y === 11 || x === 4 || x === 11);
      const beside = !inside && ((y >= 4 && y < 12 && (x === 3 || x === 12)) || (x >= 4 && x < 12 && (y === 3 || y === 12)));
      assert.equal(open.has(y * 16 + x), edge || beside, `cell ${y}, ${x}`);
    }
  }),

  'generate twice makes other pictures; a locked seed makes the same': every(async (studio) => {
    const first = await studio.run();
    const one = await seeds(studio);
    const second = await studio.run();
    assert.notEqual(second.request.seed, first.request.seed);
    assert.notDeepEqual(await seeds(studio), one);
    await studio.panel('task');
    await studio.press('[data-key="option-seed-lock"]');
    const locked = await studio.run();
    assert.equal(locked.request.seed, second.request.seed, 'the last seed is the one that is locked');
    await studio.option('option-seed', '7');
    assert.equal((await studio.run()).request.seed, 7, 'a typed one is locked too');
    const seven = await seeds(studio);
    assert.equal((await studio.run()).request.seed, 7);
    assert.deepEqual(await seeds(studio), seven);
    await studio.panel('task');
    await studio.press('[data-key="option-seed-lock"]');
    assert.notEqual((await studio.run()).request.seed, 7);
  }),

  'the chosen result is the next task\'s picture': every(async (studio) => {
    await studio.run();
    await studio.task('Change');
    const picture = () => studio.state(({ edit, job }) => job.results.findIndex(({ image }) => image === edit.doc?.image));
    assert.equal(await picture(), 0, 'from the sheet: the one with the ring');
    assert.ok(!(await studio.page.locator('#empty').isVisible()));
    await studio.task('Generate');
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').nth(3));
    await studio.task('Vary');
    assert.equal(await picture(), 3);
  }),

  'also by way of a task that needs none, and while the job still runs': at(['phone', 'wide'], async (studio) => {
    await studio.run();
    await studio.task('Wide');
    await studio.task('Keep');
    assert.notEqual(await studio.state(({ edit }) => edit.doc), null);
    await studio.reload();
    await studio.page.evaluate(async () => {
      const [{ store }, { emptyEdit }] = await Promise.all(['store', 'edits'].map((name) => import(new URL(`studio/${name}.js`, document.baseURI))));
      store.set({ edit: emptyEdit, job: null, task: 'generate' });
    });
    await studio.start();
    await studio.task('Change');
    await studio.finished();
    assert.notEqual(await studio.state(({ edit }) => edit.doc), null);
  }),

  'a reload keeps picture, mask, model, task, options and results': every(async (studio) => {
    await studio.page.locator('#model').selectOption('second');
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    await studio.option('option-prompt', 'a bear');
    await studio.option('option-temperature', '0.6');
    await studio.run();
    await studio.panel(null);
    await studio.press(studio.page.locator('#tray .thumb[data-key="thumb-3"]'));
    const kept = () => studio.state(({ edit, model, task, options, job, shown }) => ({
      mask: [...edit.mask.keys()].filter((cell) => edit.mask[cell]), codes: [...edit.doc.tokens], name: edit.doc.name, model, task, options, shown,
      selected: job.selected, results: job.results.map(({ tokens }) => [...tokens].join()),
    }));
    const before = await kept();
    assert.equal(before.shown, 'result');
    await wait(1500); // what was done a moment ago is on the disk
    await studio.reload();
    await studio.settled();
    assert.deepEqual(await kept(), before);
    await studio.panel('task');
    assert.equal(await studio.page.locator('#option-prompt').inputValue(), 'a bear');
  }, { condition: 'text', models: ['first', 'second'] }),

  'a reload keeps pieces, borders and codes chosen by hand, and the sheet of results': at(['phone', 'wide'], async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.task('Extend');
    await studio.option('extend-right', '32', { done: true });
    await studio.task('Stitch');
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    await studio.page.evaluate(async () => {
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const { edit } = store.get();
      store.set({ edit: { ...edit, pins: new Map([[5, 17]]) } });
    });
    await studio.run();
    const kept = () => studio.state(({ edit, task, shown, sheet }) => ({
      pieces: edit.pieces.map(({ name, from, to, image }) => [name, from, to, image.width]), borders: edit.borders, pins: [...edit.pins], task, shown, sheet, name: edit.doc.name,
    }));
    const before = await kept();
    assert.deepEqual([before.pieces.length, before.borders.right, before.sheet], [2, 32, true]);
    await wait(1500);
    await studio.reload();
    await studio.settled();
    assert.deepEqual(await kept(), before);
    // The next piece is another one.
    await studio.open('emoji_u1f683.png');
    assert.equal(new Set(await studio.state(({ edit }) => edit.pieces.map(({ id }) => id))).size, 3);
  }),

  'a job that runs is followed on after a reload': every(async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    await studio.set({ options: { steps: 14 } });
    await studio.start();
    await studio.until(({ job }) => job?.progress?.step >= 2);
    const { id, seed } = await studio.state(({ job }) => ({ id: job.id, seed: job.request.seed }));
    await wait(300);
    await studio.reload();
    await studio.until(({ job }) => job?.phase === 'running' && job.progress?.step >= 3);
    assert.ok(await studio.page.locator('#run-bar', { hasText: 'Cancel' }).isVisible());
    const job = await studio.finished();
    assert.deepEqual([job.phase, job.request.seed, await studio.state((state) => state.job.id)], ['done', seed, id]);
    await studio.page.waitForFunction(async () => (await import(new URL('studio/store.js', document.baseURI))).store.get().history.length === 1);
  }, { slow: true }),

  'a job is followed from another tab, and is one entry of the history': at(['wide'], async (studio, { mock }) => {
    await studio.set({ options: { steps: 10 } });
    await studio.start();
    await studio.until(({ job }) => job?.progress?.step >= 2);
    await wait(400);
    const page = await studio.context.newPage();
    await page.goto(mock.url);
    await page.waitForFunction(() => document.documentElement.dataset.ready === 'true');
    const other = new studio.constructor(page, studio.context, studio.faults, studio.options);
    await other.until(({ job }) => job?.phase === 'running');
    assert.equal((await other.finished()).phase, 'done');
    assert.equal((await studio.finished()).phase, 'done');
    await wait(500);
    await studio.reload();
    assert.equal(await studio.state(({ history }) => history.length), 1);
    await page.close();
  }, { slow: true }),

  'a server that was started anew no longer knows the job, which is run again with its seed': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    await studio.set({ options: { steps: 12 } });
    for (const reload of [false, true]) {
      await studio.start();
      await studio.until(({ job }) => job?.progress?.step >= 2);
      const seed = await studio.state(({ job }) => job.request.seed);
      await wait(300);
      const port = Number(new URL(mock.url).port);
      await mock.stop();
      Object.assign(mock, await startMock({ root, port, troubles: mock.troubles }));
      if (reload) await studio.reload();
      await studio.page.waitForSelector('.toast.bad');
      assert.match(await studio.page.locator('.toast.bad').innerText(), /no longer knows this job/);
      await studio.press(studio.page.locator('.toast.bad button', { hasText: 'Run it again' }));
      await studio.until(({ job }) => job?.phase === 'running');
      const job = await studio.finished();
      assert.deepEqual([job.phase, job.request.seed], ['done', seed]);
      await studio.task('Change');
    }
  }, { slow: true }),

  'a job that fails or is cancelled leaves on the stage what was there': every(async (studio, { mock }) => {
    await studio.run();
    const made = await seeds(studio);
    await studio.press(studio.page.locator('#sheet button').nth(2));
    mock.troubles.fail = true;
    assert.equal((await studio.run()).phase, 'failed');
    assert.deepEqual(await seeds(studio), made);
    assert.match(await studio.page.locator('#shown').innerText(), /3 of 9/);
    assert.ok(await studio.page.locator('#tray').isVisible());
    mock.troubles.fail = false;
    mock.troubles.slow = true;
    await studio.start();
    await studio.until(({ job }) => job?.phase === 'running');
    await studio.press('#run-bar [data-key="run"]');
    assert.equal((await studio.finished()).phase, 'cancelled');
    assert.deepEqual(await seeds(studio), made);
  }, { fail: false }),

  'another model keeps the prompt, the picture, the mask and the results': every(async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    await studio.option('option-prompt', 'a bear');
    await studio.run();
    const mask = await studio.mask();
    await studio.panel(null);
    await studio.page.locator('#model').selectOption('second');
    await studio.settled();
    assert.deepEqual(await studio.mask(), mask);
    assert.equal(await studio.state(({ options }) => options.prompt), 'a bear');
    assert.equal(await studio.state(({ job }) => job.results.length), 9);
    await studio.panel('task');
    assert.equal(await studio.page.locator('#option-prompt').inputValue(), 'a bear');
  }, { condition: 'text', models: ['first', 'second'] }),

  'a used result keeps the mask, and so does undo': every(async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    const mask = await studio.mask();
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').nth(1));
    await studio.press('#shown [data-key="use"]');
    assert.deepEqual(await studio.mask(), mask);
    await studio.tool('undo');
    assert.deepEqual(await studio.mask(), mask);
    await studio.tool('clear');
    assert.deepEqual(await studio.mask(), []);
  }),

  'a photograph of twelve megapixels is worked on through a box, and the rest of it stays': every(async (studio, { size }) => {
    await dropPhotograph(studio, 4000, 3000);
    await studio.until(({ edit }) => edit.doc !== null);
    await studio.settled();
    assert.deepEqual(await studio.state(({ edit: { doc, area } }) => [doc.width, doc.height, doc.h * doc.w, area.box]), [64, 64, 256, { x: 500, y: 0, width: 3000, height: 3000 }]);
    // The box is moved to the left by hand, then made smaller.
    await studio.tool('area');
    await studio.page.waitForTimeout(100);
    if (size !== 'tablet') await studio.look(`area-${size}`);
    const place = (x, y) => studio.page.evaluate(async ([px, py]) => {
      const stage = await import(new URL('studio/stage.js', document.baseURI));
      const scale = stage.currentScale();
      const { width, height } = stage.stageSize();
      const box = document.getElementById('stage').getBoundingClientRect();
      return { x: box.left + width / 2 + (px - 2000) * scale, y: box.top + height / 2 + (py - 1500) * scale };
    }, [x, y]);
    const from = await place(2000, 1500);
    const to = await place(1500, 1500);
    await studio.page.mouse.move(from.x, from.y);
    await studio.page.mouse.down();
    await wait(60);
    await studio.page.mouse.move((from.x + to.x) / 2, to.y, { steps: 3 });
    await studio.page.mouse.move(to.x - 2, to.y, { steps: 3 });
    await studio.page.mouse.up();
    await studio.frame();
    assert.equal(await studio.state(({ edit }) => edit.area.box.x), 0);
    await studio.page.locator('#stage').focus();
    for (let k = 0; k < 6; k++) await studio.page.keyboard.press('Shift+ArrowRight');
    const box = await studio.state(({ edit }) => edit.area.box);
    assert.ok(box.width < 2200 && box.width === box.height);
    // Painted in the box, made anew, used, and the whole photograph downloaded.
    await studio.tool('brush');
    await studio.settled();
    await studio.drag([[7, 7], [8, 8]]);
    const job = await studio.run();
    assert.deepEqual([job.phase, job.width, job.height], ['done', 64, 64]);
    await studio.press(studio.page.locator('#sheet button').nth(0));
    await studio.press('#shown [data-key="use"]');
    const download = studio.page.waitForEvent('download');
    await studio.tool('download');
    const bytes = await readFile(await (await download).path());
    const found = await studio.page.evaluate(async ([text, { x, y, width }]) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
      const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
      canvas.getContext('2d').drawImage(bitmap, 0, 0);
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const before = store.get().edit.area.photo.image.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height).data;
      const after = canvas.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height).data;
      const cell = width / 16;
      const near = [x + 3 * cell, x + 13 * cell, y + 3 * cell, y + 13 * cell];
      let away = 0, within = 0;
      for (let py = 0; py < bitmap.height; py += 3) for (let px = 0; px < bitmap.width; px += 3) {
        const k = 4 * (py * bitmap.width + px);
        if (before[k] === after[k] && before[k + 1] === after[k + 1] && before[k + 2] === after[k + 2]) continue;
        if (px > near[0] && px < near[1] && py > near[2] && py < near[3]) within++;
        else away++;
      }
      return { size: [bitmap.width, bitmap.height], away, within };
    }, [bytes.toString('base64'), box]);
    assert.deepEqual([found.size, found.away], [[4000, 3000], 0], 'the photograph is whole, and what was not painted is as it was');
    assert.ok(found.within > 100, 'what was painted is another');
    if (size === 'tablet') await studio.look(`photograph-${size}`);
  }),

  'pictures of any shape come in, or it is said why not': at(['phone', 'wide'], async (studio) => {
    const drop = (width, height) => dropPhotograph(studio, width, height, `${width} by ${height}`);
    const wanted = { '9000 by 700': { x: 4150, y: 0, width: 700, height: 700 }, '90 by 2000': { x: 0, y: 955, width: 90, height: 90 }, '6000 by 5000': null };
    for (const [name, box] of Object.entries(wanted)) {
      const [width, height] = name.split(' by ').map(Number);
      await drop(width, height);
      await studio.until(({ edit }, called) => edit.doc?.name === called, name, 60_000);
      const area = await studio.state(({ edit }) => ({ box: edit.area.box, photo: [edit.area.photo.width, edit.area.photo.height] }));
      if (box) assert.deepEqual(area, { box, photo: [width, height] });
      else assert.ok(area.photo[0] * area.photo[1] <= 24.1e6 && Math.abs(area.photo[0] / area.photo[1] - 1.2) < 0.01, 'thirty megapixels are scaled down');
    }
    await drop(20, 20);
    await studio.until(({ edit }) => edit.doc?.name === '20 by 20');
    assert.deepEqual(await studio.state(({ edit }) => [edit.doc.width, edit.doc.height, edit.area]), [64, 64, null]);
    await drop(2, 5000);
    await studio.page.waitForSelector('.toast.bad');
    assert.match(await studio.page.locator('.toast.bad').innerText(), /too long and narrow/);
  }),

  'what is painted stays where it is in the photograph, over a move of the box and a reload': at(['phone', 'wide'], async (studio) => {
    await dropPhotograph(studio, 1600, 1200);
    await studio.until(({ edit }) => edit.doc !== null);
    await studio.settled();
    await studio.drag([[8, 4], [8, 6]]);
    const before = await studio.mask();
    await studio.tool('area');
    await studio.page.locator('#stage').focus();
    await studio.page.keyboard.press('ArrowRight'); // a sixteenth of the box: one cell
    await studio.settled();
    assert.deepEqual(await studio.mask(), before.map((cell) => cell - 1));
    const box = await studio.state(({ edit }) => edit.area.box);
    await wait(1500);
    await studio.reload();
    await studio.settled();
    assert.deepEqual(await studio.state(({ edit }) => [edit.area.box, edit.area.photo.width]), [box, 1600]);
    assert.deepEqual(await studio.mask(), before.map((cell) => cell - 1));
  }),

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

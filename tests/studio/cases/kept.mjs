/** What was made stays: seeds, the chosen result, the work over a reload, a failed job, another model and a server that was started anew. */
import { strict as assert } from 'node:assert';
import { startMock } from '../mock_server.mjs';
import { at, every, root, seeds, wait } from '../stand_in.mjs';

export default {
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

  'a reload keeps the canvas and codes chosen by hand, and the sheet of results': at(['phone', 'wide'], async (studio) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.task('Extend');
    await studio.option('extend-right', '32', { done: true });
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    await studio.page.evaluate(async () => {
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const { edit } = store.get();
      store.set({ edit: { ...edit, pins: new Map([[5, 17]]) } });
    });
    await studio.run();
    const kept = () => studio.state(({ edit, task, shown, sheet }) => ({
      pieces: edit.pieces.map(({ name, own, from, to, image }) => [name, own, from, to, image?.width]), canvas: edit.canvas, pins: [...edit.pins], task, shown, sheet, name: edit.doc.name,
    }));
    const before = await kept();
    assert.deepEqual([before.pieces.length, before.canvas, before.sheet], [3, { width: 192, height: 64 }, true]);
    await wait(1500);
    await studio.reload();
    await studio.settled();
    assert.deepEqual(await kept(), before);
    // The next piece is another one.
    await studio.open('emoji_u1f683.png');
    assert.equal(new Set(await studio.state(({ edit }) => edit.pieces.map(({ id }) => id))).size, 4);
  }),

  'a job that runs is followed on after a reload': every(async (studio, { mock }) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    await studio.set({ options: { steps: 14 } });
    await studio.start();
    await studio.until(({ job }) => job?.progress?.step >= 2);
    mock.troubles.held = true; // a page that comes up slowly finds it running
    const { id, seed } = await studio.state(({ job }) => ({ id: job.id, seed: job.request.seed }));
    await wait(300);
    await studio.reload();
    await studio.until(({ job }) => job?.phase === 'running');
    assert.ok(await studio.page.locator('#run-bar', { hasText: 'Cancel' }).isVisible());
    mock.troubles.held = false;
    await studio.until(({ job, ended }) => job?.progress?.step >= 3 || ended !== null);
    const job = await studio.finished();
    assert.deepEqual([job.phase, job.request.seed, await studio.state((state) => state.job.id)], ['done', seed, id]);
    await studio.page.waitForFunction(async () => (await import(new URL('studio/store.js', document.baseURI))).store.get().history.length === 1);
  }, { slow: true }),

  'a job is followed from another tab, and is one entry of the history': at(['wide'], async (studio, { mock }) => {
    await studio.set({ options: { steps: 10 } });
    await studio.start();
    await studio.until(({ job }) => job?.progress?.step >= 2);
    mock.troubles.held = true;
    await wait(400);
    const page = await studio.context.newPage();
    await page.goto(mock.url);
    await page.waitForFunction(() => document.documentElement.dataset.ready === 'true');
    const other = new studio.constructor(page, studio.context, studio.faults, studio.options);
    await other.until(({ job }) => job?.phase === 'running');
    mock.troubles.held = false;
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
    await studio.set({ options: { steps: 24 } });
    for (const reload of [false, true]) {
      await studio.start();
      await studio.until(({ job }) => job?.progress?.step >= 2);
      mock.troubles.held = true;
      const seed = await studio.state(({ job }) => job.request.seed);
      await wait(300);
      mock.troubles.held = false;
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
};

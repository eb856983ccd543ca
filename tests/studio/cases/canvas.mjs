/** The canvas of Extend: one picture with margins or several as pieces, moved, cut and taken away; what earlier versions made of it. */
import { strict as assert } from 'node:assert';
import { at, every, seeds, wait, why } from '../stand_in.mjs';

const kTram = 'emoji_u1f683.png';
const kTruck = 'emoji_u1f69a.png';
const whole = [0, 0, 64, 64];

/** The pixels of a piece's first corner in the window. */
const corner = (studio, k = 0) => studio.canvas().then(({ pieces }) => studio.place(pieces[k][1][1] / 4 - 0.5, pieces[k][1][0] / 4 - 0.5));

/** Two pictures side by side, the panel drawn down. */
async function two(studio) {
  await studio.task('Extend');
  await studio.open(kTram, kTruck);
  await studio.panel(null);
  await studio.frame();
}

/** The cells that were made, of the first result. */
const made = (job) => job.results[0].order.flatMap((step, cell) => (step > 0 ? [cell] : []));

/** A request of the page as it stands, pictures included. */
const requestNow = (studio) => studio.page.evaluate(async () => {
  const [{ store }, { requestOf }] = await Promise.all(['store', 'job_runner'].map((module) => import(new URL(`studio/${module}.js`, document.baseURI))));
  return requestOf(store.get());
});

/** The record of a tab as it was kept when Extend had borders, and Stitch a canvas that did not hold the picture under edit. */
const former = (task, borders, onto, expected) => at(['phone'], async (studio) => {
  await two(studio);
  await wait(1200);
  await studio.page.evaluate(async ([name, sides, pasted]) => {
    const { loadSession, saveSession } = await import(new URL('studio/history_store.js', document.baseURI));
    const record = await loadSession();
    const { pieces: [own, other], doc } = record.edit;
    const pieces = pasted ? [{ ...other, from: [0, 0, 32, 32], to: [16, 8] }] : [{ ...own, own: undefined, image: doc.image, name: doc.name }, other];
    const all = { left: 0, right: 0, top: 0, bottom: 0, ...sides };
    await saveSession({ ...record, task: name, taskOptions: { stitch: { seam: 8, onto: pasted } }, edit: { ...record.edit, pieces, borders: all, canvas: { width: 0, height: 0 } } });
  }, [task, borders, onto]);
  await studio.reload();
  await studio.settled();
  assert.deepEqual(await studio.state((state) => [state.task, state.taskOptions]), ['extend', { extend: { seam: 8, onto } }]);
  assert.deepEqual(await studio.canvas(), expected);
});

export default {
  'one picture goes on beyond its border: by a handle, by a number, by a key': at(['small', 'phone', 'wide'], async (studio, { size }) => {
    await studio.open(kTram);
    await studio.task('Extend');
    await studio.frame();
    assert.match(await why(studio), /Drag a handle/);
    const before = await corner(studio);
    await studio.dragSide('left', 3, async () => {
      assert.deepEqual(await studio.canvas(), { size: [76, 64], pieces: [[whole, [12, 0]]] });
      const now = await corner(studio);
      assert.ok(Math.hypot(now.x - before.x, now.y - before.y) < 1, 'the picture stays where it is while the ground grows');
    });
    await studio.option('extend-bottom', '8', { done: true });
    await studio.panel(null);
    await studio.page.locator('#stage').focus();
    await studio.page.keyboard.press('ArrowUp');
    assert.deepEqual(await studio.canvas(), { size: [76, 76], pieces: [[whole, [12, 4]]] });
    assert.match(await why(studio), /76 × 76 pixels, 105 of 361 cells will be made/);
    await studio.look(`margins-${size}`);
    await studio.panel('task');
    await studio.look(`margins-form-${size}`);
    await studio.quick({ steps: 4, count: 1 });
    const job = await studio.runToEnd();
    const { verb, left, top, bottom, right, pieces } = job.request;
    assert.deepEqual([verb, left, top, bottom, right, pieces, job.width, job.height], ['outpaint', 12, 4, 8, undefined, undefined, 76, 76]);
    await studio.page.keyboard.press('Control+z');
    assert.deepEqual((await studio.canvas()).size, [76, 72], 'a key is a step');
    await studio.page.keyboard.press('Control+z');
    await studio.page.keyboard.press('Control+z');
    assert.deepEqual((await studio.canvas()).size, [64, 64], 'a drag is one');
  }),

  'a handle goes in no further than a piece lies, and a drag that is broken off leaves the canvas as it was': at(['phone', 'wide'], async (studio) => {
    await two(studio);
    await studio.dragSide('left', 3);
    await studio.dragSide('bottom', 2);
    assert.deepEqual(await studio.canvas(), { size: [140, 72], pieces: [[whole, [12, 0]], [whole, [76, 0]]] });
    await studio.dragSide('left', -9);
    assert.deepEqual(await studio.canvas(), { size: [128, 72], pieces: [[whole, [0, 0]], [whole, [64, 0]]] });
    const before = await corner(studio, 1);
    await studio.dragSide('top', 4, () => studio.page.evaluate(() => {
      document.getElementById('stage').dispatchEvent(new PointerEvent('pointercancel', { pointerId: 1, pointerType: 'mouse', bubbles: true }));
    }));
    assert.deepEqual((await studio.canvas()).size, [128, 72]);
    const now = await corner(studio, 1);
    assert.ok(Math.hypot(now.x - before.x, now.y - before.y) < 1);
  }),

  'two pictures side by side leave a seam to be made, and the results differ': every(async (studio, { size }) => {
    await two(studio);
    assert.match(await why(studio), /128 × 64 pixels, 64 of 512 cells will be made/);
    await studio.look(`seam-${size}`);
    await studio.panel('task');
    await studio.look(`seam-form-${size}`);
    const job = await studio.run();
    assert.deepEqual([job.count, job.request.verb], [4, 'stitch']);
    for (const { order } of job.results) {
      const columns = new Set(order.flatMap((step, cell) => (step > 0 ? [cell % 32] : [])));
      assert.deepEqual([...columns].sort((a, b) => a - b), [14, 15, 16, 17]);
    }
    assert.equal(new Set(await seeds(studio)).size, 4, 'four different joins');
  }),

  'a piece is moved onto open ground, and what it left is made': at(['small', 'phone', 'wide'], async (studio, { size }) => {
    await two(studio);
    await studio.dragSide('right', 8);
    await studio.drag([[7.5, 24], [7.5, 32]]);
    assert.deepEqual(await studio.canvas(), { size: [160, 64], pieces: [[whole, [0, 0]], [whole, [96, 0]]] });
    await studio.page.keyboard.press('ArrowLeft');
    assert.deepEqual((await studio.canvas()).pieces[1], [whole, [92, 0]]);
    await studio.look(`moved-${size}`);
    await studio.quick({ steps: 4, count: 1 });
    const job = await studio.runToEnd();
    const columns = [...new Set(made(job).map((cell) => cell % 40))].sort((a, b) => a - b);
    assert.deepEqual(columns, [16, 17, 18, 19, 20, 21, 22, 39], 'the gap and the ground on the right');
    assert.equal(job.request.pieces.length, 2);
  }),

  'a finger moves a piece and drags a handle': at(['phone'], async (studio) => {
    await two(studio);
    const touch = async (from, to) => {
      const client = await studio.page.context().newCDPSession(studio.page);
      const point = ({ x, y }) => [{ x, y, id: 1 }];
      await client.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: point(from) });
      await wait(80);
      for (let k = 1; k <= 6; k++) await client.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: point({ x: from.x + ((to.x - from.x) * k) / 6, y: from.y + ((to.y - from.y) * k) / 6 }) });
      await client.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
      await studio.frame();
    };
    const side = await studio.place(7.5, 31.5);
    const further = await studio.place(7.5, 35.5);
    await touch({ x: side.x + 15, y: side.y }, { x: further.x + 15, y: further.y });
    assert.deepEqual((await studio.canvas()).size, [144, 64]);
    await studio.frame();
    await touch(await studio.place(7.5, 24), await studio.place(7.5, 27));
    assert.deepEqual((await studio.canvas()).pieces[1], [whole, [76, 0]]);
  }, {}, { touch: true }),

  'pieces are taken away one by one; the picture under edit is laid back': at(['phone', 'wide'], async (studio, { size }) => {
    await two(studio);
    await studio.panel('task');
    await studio.press('[data-key="remove-1"]');
    assert.deepEqual(await studio.canvas(), { size: [128, 64], pieces: [[whole, [64, 0]]] });
    assert.equal((await requestNow(studio)).verb, 'outpaint', 'one picture, with ground on its left');
    await studio.press('[data-key="extend-present"]');
    assert.equal(await studio.page.locator('.pieces li').count(), 2);
    assert.equal(await studio.page.locator('[data-key="extend-present"]').count(), 0);
    for (const key of await studio.page.locator('.pieces [data-key^="remove-"]').evaluateAll((buttons) => buttons.map((button) => button.dataset.key))) await studio.press(`[data-key="${key}"]`);
    assert.match(await why(studio), /Add a picture/);
    await studio.look(`emptied-${size}`);
    await studio.page.keyboard.press('Control+z');
    assert.equal((await studio.canvas()).pieces.length, 1);
    await studio.page.keyboard.press('Control+Shift+z');
    await studio.open(kTruck);
    assert.deepEqual(await studio.canvas(), { size: [64, 64], pieces: [[whole, [0, 0]]] });
    assert.equal(await studio.state(({ edit }) => edit.doc.name), 'emoji_u1f69a', 'the first on an empty canvas is the picture under edit');
  }),

  'a piece over another opens a seam around it; onto the lowest picture it stays whole': at(['wide'], async (studio) => {
    await two(studio);
    // The second is cut to its upper left quarter and laid over the first.
    for (const [from, to] of [[[7.5, 31.5], [7.5, 23.5]], [[15.5, 19.5], [7.5, 19.5]], [[3.5, 19.5], [7.5, 7.5]]]) await studio.drag([from, to]);
    await studio.option('extend-right', '0', { done: true });
    assert.deepEqual(await studio.canvas(), { size: [64, 64], pieces: [[whole, [0, 0]], [[0, 0, 32, 32], [16, 16]]] });
    await studio.option('extend-seam', '4');
    const seamOf = async (onto) => {
      const job = await studio.run();
      assert.equal(job.request.onto !== undefined, onto);
      const open = new Set(made(job));
      for (let y = 0; y < 16; y++) for (let x = 0; x < 16; x++) {
        const inside = y >= 4 && y < 12 && x >= 4 && x < 12;
        const edge = inside && (y === 4 || y === 11 || x === 4 || x === 11);
        const beside = !inside && ((y >= 4 && y < 12 && (x === 3 || x === 12)) || (x >= 4 && x < 12 && (y === 3 || y === 12)));
        if (!onto) assert.equal(open.has(y * 16 + x), edge || beside, `cell ${y}, ${x}`);
      }
    };
    await seamOf(false);
    await studio.panel('task');
    await studio.press('#extend-onto');
    assert.match(await why(studio), /36 of 256 cells/);
    await seamOf(true);
  }),

  'the inspector and the brush of codes work on a picture that lies there alone': at(['wide'], async (studio) => {
    await studio.open(kTram);
    await studio.task('Extend');
    await studio.page.keyboard.press('i');
    const { x, y } = await studio.place(4, 5);
    await studio.page.mouse.click(x, y);
    await studio.page.waitForSelector('.candidates button');
    assert.deepEqual(await studio.state(({ inspect }) => inspect.cell), { x: 5, y: 4 });
  }),

  'a canvas of several outlives work in other tasks; what was made of it takes its place': at(['phone', 'wide'], async (studio) => {
    await studio.quick({ steps: 4 });
    await studio.open(kTram);
    await studio.task('Extend');
    await studio.open(kTruck);
    const laid = await studio.canvas();
    // The first is changed: the piece with it.
    await studio.task('Change');
    await studio.panel(null);
    await studio.frame();
    await studio.drag([[4, 4], [4, 9]]);
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').nth(1));
    await studio.press('#shown [data-key="use"]');
    await studio.task('Extend');
    assert.deepEqual(await studio.canvas(), laid);
    assert.equal(await studio.state(({ edit }) => edit.pieces[0].own), true);
    // Another picture is worked on: the canvas stays as it was.
    await studio.task('Generate');
    await studio.run();
    await studio.task('Extend');
    assert.deepEqual(await studio.canvas(), laid);
    assert.equal(await studio.state(({ edit }) => edit.pieces.some(({ own }) => own)), false);
    await studio.run();
    await studio.press(studio.page.locator('#sheet button').first());
    await studio.press('#shown [data-key="use"]');
    assert.deepEqual(await studio.canvas(), { size: [128, 64], pieces: [[[0, 0, 128, 64], [0, 0]]] });
    await studio.tool('undo');
    assert.deepEqual(await studio.canvas(), laid);
  }),

  'jobs of the former Extend and Stitch are set up again, from the history and from links, and make the same': at(['phone', 'wide'], async (studio) => {
    await studio.quick({ steps: 6, count: 2 });
    await studio.set({ options: { ...(await studio.state(({ options }) => options)), seed: 11 }, form: {} });
    const jobs = [];
    await studio.open(kTram);
    await studio.task('Extend');
    await studio.option('extend-left', '16', { done: true });
    jobs.push({ task: 'extend', job: await studio.run() });
    await studio.press('#tab-task');
    await studio.set({ shown: 'picture', sheet: false });
    await studio.open(kTruck);
    await studio.option('extend-left', '0', { done: true });
    jobs.push({ task: 'stitch', job: await studio.run() }); // a seam between two
    await studio.set({ shown: 'picture', sheet: false });
    await studio.panel(null);
    await studio.frame();
    for (const [from, to] of [[[7.5, 31.5], [7.5, 23.5]], [[15.5, 19.5], [7.5, 19.5]], [[3.5, 19.5], [7.5, 7.5]]]) await studio.drag([from, to]);
    await studio.option('extend-right', '0', { done: true });
    jobs.push({ task: 'stitch', job: await studio.run() }); // the lower one is in parts around the upper
    await studio.set({ shown: 'picture', sheet: false });
    await studio.panel('task');
    await studio.press('#extend-onto');
    jobs.push({ task: 'stitch', job: await studio.run() });
    assert.deepEqual(jobs.map(({ job }) => job.request.verb), ['outpaint', 'stitch', 'stitch', 'stitch']);
    // As they were kept: under the names of their tasks.
    const links = await studio.page.evaluate(async (names) => {
      const [{ store }, { saveEntry }, { linkOf }] = await Promise.all(['store', 'history_store', 'job_link'].map((module) => import(new URL(`studio/${module}.js`, document.baseURI))));
      const entries = store.get().history.map((entry, k) => ({ ...entry, task: names.at(-1 - k) }));
      for (const entry of entries) await saveEntry(entry);
      return Promise.all(entries.reverse().map(linkOf));
    }, jobs.map(({ task }) => task));
    await wait(600);
    await studio.reload();
    const same = async (k) => {
      await studio.until(({ task, shown }) => task === 'extend' && shown === 'picture');
      await studio.settled();
      const { results, request } = await studio.runToEnd();
      assert.deepEqual(results.map(({ tokens }) => tokens), jobs[k].job.results.map(({ tokens }) => tokens), `job ${k}`);
      assert.equal(request.verb, jobs[k].job.request.verb);
      await studio.page.evaluate(() => document.querySelectorAll('.toast [aria-label="Dismiss"]').forEach((button) => button.click()));
    };
    for (let k = 0; k < jobs.length; k++) {
      await studio.panel('history');
      await studio.press(studio.page.locator('#panel-history [data-key$="-restore"]').nth(jobs.length - 1)); // each run is one more
      await same(k);
    }
    for (let k = 0; k < jobs.length; k++) {
      await studio.page.evaluate((url) => { location.hash = new URL(url).hash; }, links[k]);
      await studio.page.waitForSelector('.toast');
      await same(k);
    }
  }),

  'a join that the server keeps is set up again from its workspace': at(['phone'], async (studio) => {
    await studio.quick({ steps: 4, count: 1 });
    await two(studio);
    await studio.run();
    await studio.task('Generate');
    await studio.panel('history');
    await studio.press(studio.page.locator('#panel-history [data-key$="-restore"]').first());
    await studio.until(({ task, edit }) => task === 'extend' && edit.pieces !== null);
    assert.deepEqual(await studio.canvas(), { size: [128, 64], pieces: [[[0, 0, 56, 64], [0, 0]], [[8, 0, 56, 64], [72, 0]]] });
    assert.match(await why(studio), /64 of 512 cells/);
  }, { workspace: true }),

  'work under way of an earlier version: pieces': former('stitch', {}, false, { size: [128, 64], pieces: [[whole, [0, 0]], [whole, [64, 0]]] }),
  'work under way of an earlier version: borders': former('extend', { left: 8, bottom: 4 }, false, { size: [72, 68], pieces: [[whole, [8, 0]]] }),
  'work under way of an earlier version: a piece on the picture': former('stitch', {}, true, { size: [64, 64], pieces: [[whole, [0, 0]], [[0, 0, 32, 32], [16, 8]]] }),
};

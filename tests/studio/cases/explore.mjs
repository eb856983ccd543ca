/** Several jobs pressed one after the other, grids of two options, presets, and a word when a long job is done. */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { at, every, wait } from '../stand_in.mjs';

const waiting = (studio) => studio.state(({ queue }) => queue.waiting.map(({ jobs }) => jobs[0].request.seed));
const key = (name) => `#queue [data-key$="-${name}"]`;

/** Presses run with this seed. */
async function pressWith(studio, seed) {
  await studio.option('option-seed', seed);
  await studio.press(`#run-bar [data-key="${await studio.state(({ live }) => (live ? 'queue-add' : 'run'))}"]`);
}

async function openList(studio) {
  await studio.panel(null);
  if (await studio.page.locator('#queue-list').count() === 0) await studio.press('[data-key="queue-head"]');
}

const openPart = async (studio, id) => {
  await studio.panel('task');
  if (!(await studio.page.locator(id).evaluate((element) => element.open))) await studio.press(`${id} summary`);
};

/** Types the values of a side of the grid. */
async function values(studio, side, name, words) {
  await openPart(studio, '#xy-form');
  await studio.page.locator(`#xy-${side}`).selectOption(name);
  await studio.frame();
  await studio.press(`#xy-${side}-${name}`);
  await studio.page.keyboard.press('Control+a');
  await studio.page.keyboard.type(words);
}

const complete = (studio) => studio.until(({ xy }) => xy.cells.every(({ entry }) => entry), null, 90_000);

export default {
  'jobs pressed while one runs wait in the queue; their order is changed, one is taken out': every(async (studio, { mock, size }) => {
    await studio.quick({ steps: 4, count: 1 });
    await pressWith(studio, 10);
    await studio.until(({ job }) => job?.phase === 'running');
    for (const seed of [11, 12, 13]) await pressWith(studio, seed);
    await studio.page.keyboard.press('Tab');
    await studio.page.keyboard.press('Control+Enter'); // the same by keys
    assert.deepEqual(await waiting(studio), [11, 12, 13, 13]);
    await openList(studio);
    await studio.look(`queue-${size}`);
    await studio.press(studio.page.locator(key('up')).nth(2));
    assert.deepEqual(await waiting(studio), [11, 13, 12, 13]);
    await studio.press(studio.page.locator(key('down')).nth(0));
    assert.deepEqual(await waiting(studio), [13, 11, 12, 13]);
    await studio.press(studio.page.locator(key('close')).nth(3));
    assert.deepEqual(await waiting(studio), [13, 11, 12]);
    mock.troubles.held = false;
    await studio.until(({ history, live }) => history.length === 4 && !live, null, 60_000);
    assert.deepEqual(await studio.state(({ history }) => history.map(({ request }) => request.seed)), [12, 11, 13, 10]);
    assert.ok(await studio.page.locator('#queue').isHidden());
  }, { held: true }),

  'the one that runs is cancelled and the next begins; the whole queue is emptied': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.quick({ steps: 4, count: 1 });
    for (const seed of [1, 2, 3, 4]) await pressWith(studio, seed);
    await openList(studio);
    await studio.press('[data-key="queue-cancel"]');
    await studio.until(({ live }) => live?.request.seed === 2);
    assert.deepEqual(await waiting(studio), [3, 4]);
    await studio.press('[data-key="queue-empty"]');
    assert.deepEqual(await waiting(studio), []);
    mock.troubles.held = false;
    await studio.until(({ history, live }) => history.length === 1 && !live);
  }, { held: true }),

  'while the queue goes on, the picture one paints on stays on the stage, and earlier results can be looked at': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.quick({ steps: 4, count: 1 });
    await studio.open('emoji_u1f9d0.png');
    await studio.task('Generate');
    for (const seed of [1, 2]) await pressWith(studio, seed);
    await studio.task('Change');
    await studio.set({ shown: 'picture', sheet: false });
    await studio.panel(null);
    mock.troubles.held = false;
    await studio.until(({ history }) => history.length === 1);
    await studio.until(({ live, history }) => live?.request.seed === 2 || history.length === 2);
    assert.equal(await studio.state(({ shown }) => shown), 'picture');
    await studio.until(({ history, live }) => history.length === 2 && !live);
    mock.troubles.held = true;
    await studio.task('Generate');
    await pressWith(studio, 3);
    await studio.until(({ job }) => job?.phase === 'running');
    await studio.panel('history');
    await studio.press(studio.page.locator('#panel-history .pictures button').last());
    await studio.until(({ job }) => job?.request.seed === 1 && job.phase === 'done');
    await studio.panel(null);
    await studio.press('[data-key="show-live"]');
    assert.deepEqual(await studio.state(({ job, shown }) => [job.request.seed, job.phase, shown]), [3, 'running', 'result']);
    mock.troubles.held = false;
    await studio.until(({ job, live }) => job.phase === 'done' && !live);
  }, { held: true }),

  'a reload keeps what waits': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.quick({ steps: 4, count: 1 });
    for (const seed of [21, 22, 23]) await pressWith(studio, seed);
    await studio.until(({ live }) => Boolean(live?.id));
    await wait(1200);
    await studio.reload();
    await studio.until(({ live }) => live?.request.seed === 21);
    assert.deepEqual(await waiting(studio), [22, 23]);
    mock.troubles.held = false;
    await studio.until(({ history, live }) => history.length === 3 && !live, null, 60_000);
    assert.deepEqual(await studio.state(({ history }) => history.map(({ request }) => request.seed)), [23, 22, 21]);
  }, { held: true }),

  'a server that takes no more holds the queue, and says so': at(['phone', 'wide'], async (studio, { mock, size }) => {
    await studio.quick({ steps: 4, count: 1 });
    for (const seed of [1, 2]) await pressWith(studio, seed);
    await studio.until(({ live }) => Boolean(live?.id));
    mock.troubles.full = true;
    mock.troubles.held = false;
    await studio.page.waitForSelector('#queue [role="alert"]');
    assert.match(await studio.page.locator('#queue [role="alert"]').innerText(), /as much work waiting/);
    await studio.panel(null);
    await studio.look(`queue-held-${size}`);
    mock.troubles.full = false;
    await studio.press('[data-key="queue-on"]');
    await studio.until(({ history, live }) => history.length === 2 && !live);
  }, { held: true }),

  'a grid of temperature by seed: labelled, downloaded, a cell opened and set up again': every(async (studio, { size }) => {
    await studio.quick({ steps: 6, count: 4 });
    await values(studio, 'x', 'temperature', '0.2, 0.8, 1.4');
    await values(studio, 'y', 'seed', '5, 6');
    assert.match(await studio.page.locator('#xy-count').innerText(), /^6 pictures$/);
    await studio.look(`xy-form-${size}`);
    await studio.press('[data-key="xy-make"]');
    await studio.page.waitForSelector('.xy-cell[data-phase="running"]');
    await complete(studio);
    await studio.until(({ live }) => !live);
    await studio.look(`xy-${size}`);
    const asked = await studio.state(({ xy }) => xy.cells.map(({ request, entry }) => [request.temperature, request.seed, request.count, entry.pictures.length]));
    assert.deepEqual(asked, [[0.2, 5, 1, 1], [0.8, 5, 1, 1], [1.4, 5, 1, 1], [0.2, 6, 1, 1], [0.8, 6, 1, 1], [1.4, 6, 1, 1]]);
    assert.equal(await studio.page.locator('.xy-cell').nth(4).getAttribute('aria-label'), 'Temperature 0.8, Seed 6');
    assert.equal(await studio.state(({ history }) => history.length), 0, 'six pictures that were only compared do not fill the history');
    const download = studio.page.waitForEvent('download');
    await studio.press('[data-key="xy-download"]');
    const file = await download;
    assert.equal(file.suggestedFilename(), 'grid-temperature-by-seed.png');
    const sheet = await studio.page.evaluate(async (text) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
      const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const { canvasOf } = await import(new URL('studio/pictures.js', document.baseURI));
      // Each picture lies in the sheet at twice its size, in its column and row.
      const found = [];
      for (const { entry } of store.get().xy.cells) {
        const picture = await canvasOf(entry.pictures[0].blob);
        const probes = [8, 40, 56].flatMap((y) => [8, 40, 56].map((x) => [x, y, ...picture.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3)]));
        let place = null;
        for (let y = 0; y < bitmap.height - 127 && !place; y++) for (let x = 0; x < bitmap.width - 127 && !place; x++) {
          if (found.some(([fx, fy]) => fx === x && fy === y)) continue;
          const { data } = x ? { data: null } : { data: context.getImageData(0, y, bitmap.width, 128).data };
          if (data) found.strip = data;
          const strip = found.strip;
          if (probes.every(([px, py, ...rgb]) => rgb.every((value, c) => strip[((2 * py) * bitmap.width + x + 2 * px) * 4 + c] === value))) place = [x, y];
        }
        found.push(place ?? [-1, -1]);
      }
      return { width: bitmap.width, height: bitmap.height, found: [...found] };
    }, (await readFile(await file.path())).toString('base64'));
    assert.ok(sheet.width >= 3 * 128 && sheet.height >= 2 * 128, `${sheet.width} x ${sheet.height}`);
    const [first] = sheet.found;
    assert.ok(sheet.found.every(([x]) => x >= 0), `every picture is in the sheet: ${JSON.stringify(sheet.found)}`);
    assert.ok(first[0] > 20 && first[1] > 40, 'there are words beside and above');
    // A cell comes on the stage, is in the history, and leads back.
    await studio.press('[data-key="xy-4"]');
    await studio.until(({ job, shown }) => shown === 'result' && job?.request.temperature === 0.8 && job.request.seed === 6);
    assert.ok(await studio.page.locator('#xy').isHidden());
    assert.equal(await studio.state(({ history }) => history.length), 1);
    await studio.press('[data-key="to-grid"]');
    assert.ok(await studio.page.locator('#xy').isVisible());
    await studio.page.keyboard.press('Escape');
    assert.ok(await studio.page.locator('#xy').isHidden());
    await studio.panel('history');
    await studio.press(studio.page.locator('#panel-history [data-key$="-restore"]').first());
    await studio.until(({ options }) => options.temperature === 0.8 && options.seed === 6);
    // The same cell run by itself is the same picture.
    const codes = await studio.state(({ xy }) => [...xy.cells[4].entry.pictures[0].tokens]);
    const job = await studio.runToEnd();
    assert.deepEqual(job.results[0].tokens, codes);
  }),

  'a grid of samplers by one seed, left half made, says which cells are not there': at(['phone', 'wide'], async (studio, { mock, size }) => {
    await studio.quick({ steps: 4 });
    await values(studio, 'x', 'sampler', 'ancestral, confidence, raster');
    await studio.page.locator('#xy-y').selectOption('none');
    await studio.frame();
    await studio.press('[data-key="xy-make"]');
    await studio.until(({ xy }) => xy?.cells[0].entry !== null);
    mock.troubles.held = true;
    await studio.until(({ live }) => live?.cell?.index >= 1);
    await wait(300);
    await studio.press('#run-bar [data-key="run"]'); // cancel: the rest goes with it
    await studio.until(({ live, queue }) => !live && !queue.current);
    await studio.page.waitForSelector('.xy-cell[data-phase="left"]');
    assert.match(await studio.page.locator('.xy-cell').last().getAttribute('aria-label'), /^Sampler raster, not made$/);
    await studio.look(`xy-left-${size}`);
    await wait(1000);
    await studio.reload();
    await studio.page.waitForSelector('.xy-cell[data-phase="done"] img'); // a grid outlives a reload
    await studio.press('[data-key="xy-0"]');
    await studio.until(({ job }) => job?.request.sampler === 'ancestral' && job.phase === 'done');
  }),

  'what a grid cannot be is said before it is made': at(['phone', 'wide'], async (studio) => {
    const line = () => studio.page.locator('#xy-count').innerText();
    await values(studio, 'x', 'temperature', '0.5, 9');
    assert.match(await line(), /^Temperature 9: expected a number from 0 to 1.5\.$/);
    assert.equal(await studio.page.locator('[data-key="xy-make"]').getAttribute('aria-disabled'), 'true');
    await values(studio, 'x', 'steps', '8 9');
    assert.match(await line(), /^Steps 8 9: expected/);
    await values(studio, 'x', 'steps', Array.from({ length: 33 }, (_, k) => k + 1).join(','));
    await values(studio, 'y', 'seed', '1, 2');
    assert.match(await line(), /^66 pictures: a grid holds at most 64\.$/);
    await studio.page.locator('#xy-y').selectOption('steps');
    await studio.page.waitForFunction(() => /same option/.test(document.querySelector('#xy-count').innerText));
    await studio.look('xy-fault');
  }),

  'prompts by models: the same words on two served models beside each other': at(['phone', 'wide'], async (studio, { size }) => {
    await studio.quick({ steps: 4 });
    await studio.option('option-prompt', 'a red door');
    await values(studio, 'x', 'model', 'first, second');
    await values(studio, 'y', 'prompt', 'a red door\na blue door');
    await studio.press('[data-key="xy-make"]');
    await complete(studio);
    assert.deepEqual(await studio.state(({ xy }) => xy.cells.map(({ request }) => [request.model, request.prompt])),
      [['first', 'a red door'], ['second', 'a red door'], ['first', 'a blue door'], ['second', 'a blue door']]);
    const seeds = await studio.state(({ xy }) => xy.cells.map(({ request }) => request.seed));
    assert.equal(new Set(seeds).size, 1, 'one seed for all of them');
    await studio.look(`xy-models-${size}`);
  }, { condition: 'text', models: ['first', 'second'] }),

  'options are kept under a name, had again over a reload, and removed': every(async (studio, { size }) => {
    await studio.option('option-temperature', 0.7);
    await studio.option('option-seed', 77);
    await openPart(studio, '#presets');
    await studio.press('#preset-name');
    await studio.page.keyboard.type('Calm');
    await studio.press('[data-key="preset-save"]');
    await studio.page.waitForSelector('[data-key="preset-Calm"]');
    await studio.option('option-temperature', 1.4);
    await studio.reload();
    await openPart(studio, '#presets');
    await studio.look(`presets-${size}`);
    await studio.press('[data-key="preset-Calm"]');
    assert.deepEqual(await studio.state(({ options }) => [options.temperature, options.seed]), [0.7, 77], 'the seed is not part of it, and stays');
    await studio.press('[data-key="preset-remove-Calm"]');
    assert.equal(await studio.page.locator('[data-key="preset-Calm"]').count(), 0);
    await studio.panel(null);
    await studio.press(studio.page.locator('.toast button', { hasText: 'Undo' }));
    await studio.panel('task');
    assert.equal(await studio.page.locator('[data-key="preset-Calm"]').count(), 1);
  }),

  'when the queue is done and nobody looks the system says so, once, and only where it was asked for': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.page.evaluate(() => { // the system's side of it
      window.told = [];
      window.asked = 0;
      window.Notification = class extends EventTarget {
        static permission = 'default';
        static async requestPermission() {
          window.asked++;
          window.Notification.permission = 'granted';
          return 'granted';
        }
        constructor(title) {
          super();
          window.told.push(title);
        }
      };
    });
    const told = () => studio.page.evaluate(() => window.told);
    const hide = (hidden) => studio.page.evaluate((value) => Object.defineProperty(document, 'hidden', { value, configurable: true }), hidden);
    await studio.quick({ steps: 4, count: 1 });
    await hide(true);
    for (const seed of [1, 2]) await pressWith(studio, seed);
    assert.equal(await studio.page.evaluate(() => window.asked), 0, 'nothing is asked before a press');
    mock.troubles.held = false;
    await studio.until(({ history, live }) => history.length === 2 && !live);
    assert.deepEqual(await told(), []);
    mock.troubles.held = true;
    for (const seed of [3, 4, 5]) await pressWith(studio, seed);
    await hide(false);
    await studio.press('[data-key="bell"]');
    await studio.page.waitForSelector('[data-key="bell"][aria-pressed="true"]');
    assert.equal(await studio.page.evaluate(() => window.asked), 1);
    await hide(true);
    mock.troubles.held = false;
    await studio.until(({ history, live }) => history.length === 5 && !live);
    assert.deepEqual(await told(), ['Generate is done']);
    await pressWith(studio, 6); // a moment's work
    await studio.until(({ history, live }) => history.length === 6 && !live);
    assert.equal((await told()).length, 1);
  }, { held: true }),
};

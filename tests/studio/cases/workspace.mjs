/** What the server keeps: found again from another tab, named, starred, removed and brought back; a server killed in the middle of a job. */
import { strict as assert } from 'node:assert';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer } from '../serve.mjs';
import { at, every } from '../stand_in.mjs';
import { openStudio } from '../studio.mjs';

const rows = (studio) => studio.page.locator('#panel-history .entry');
const rowCount = (studio, count) => studio.page.waitForFunction((wanted) => document.querySelectorAll('#panel-history .entry').length === wanted, count);
const workspace = { workspace: true };

/** The page on a program with a workspace of its own. */
async function onProgram({ browser, program, screenshots, source }, size, body) {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-workspace-'));
  const begin = (port = 0) => startServer({ program, model: source }, ['--workspace', join(folder, 'work')], port);
  const server = await begin();
  const studio = await openStudio(browser, server.url, { size, screenshots, expectErrors: true });
  try {
    return await body({ studio, server, again: () => begin(server.port), folder });
  } finally {
    await studio.close();
    await rm(folder, { recursive: true });
  }
}

export default {
  'an empty one says what it is for and leads on': every(async (studio) => {
    await studio.panel('history');
    await studio.page.waitForSelector('#panel-history .empty-note');
    assert.match(await studio.page.locator('#panel-history').innerText(), /kept by the server/);
    await studio.look('workspace-empty');
    await studio.press('[data-key="shelf-starred"], #shelf-starred');
    await studio.page.waitForFunction(() => document.querySelector('#panel-history').innerText.includes('Nothing has a star'));
    await studio.press('[data-key="shelf-all"]');
    await studio.page.waitForSelector('[data-key="shelf-generate"]');
    await studio.press('[data-key="shelf-generate"]');
    assert.equal(await studio.state(({ task }) => task), 'generate');
  }, workspace),

  'jobs are named, starred, searched, removed and brought back': every(async (studio) => {
    await studio.run();
    await studio.run();
    await studio.panel('history');
    await rowCount(studio, 2);
    await studio.press(rows(studio).nth(1).locator('[data-key$="-name"]'));
    await studio.page.waitForFunction(() => document.activeElement?.matches('[data-key$="-name-field"]'));
    await studio.page.keyboard.type('Seven mornings');
    await studio.page.keyboard.press('Enter');
    await studio.page.waitForFunction(() => document.querySelectorAll('#panel-history h3')[1]?.innerText === 'Seven mornings');
    await studio.press(rows(studio).nth(1).locator('[data-key$="-star"]'));
    await studio.until(({ shelf }) => shelf.jobs[1].starred);
    await studio.page.waitForFunction(() => [...document.querySelectorAll('#panel-history .pictures img')].some((image) => image.naturalWidth > 0));
    await studio.look('workspace');
    await studio.press('#shelf-search');
    await studio.page.keyboard.type('morn');
    await rowCount(studio, 1);
    assert.match(await rows(studio).first().innerText(), /Seven mornings/);
    assert.equal(await studio.page.evaluate(() => document.activeElement.id), 'shelf-search', 'one goes on typing');
    await studio.page.keyboard.type(' tiger');
    await studio.page.waitForSelector('[data-key="shelf-all"]');
    await studio.look('workspace-nothing-found');
    await studio.press('[data-key="shelf-all"]');
    await rowCount(studio, 2);
    await studio.press('#shelf-starred');
    await rowCount(studio, 1);
    await studio.press('#shelf-starred');
    await rowCount(studio, 2);
    await studio.press(rows(studio).nth(1).locator('[data-key$="-trash"]'));
    await rowCount(studio, 1);
    await studio.press(studio.page.locator('.toast button', { hasText: 'Undo' }));
    await rowCount(studio, 2);
    assert.equal(await studio.state(({ shelf }) => shelf.jobs[1].name), 'Seven mornings');
  }, workspace),

  'a job of another device is there, and can be gone on with': at(['phone', 'wide'], async (studio, { mock, size }) => {
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    const made = await studio.run();
    const other = await openStudio(studio.context.browser(), mock.url, { size }); // another device: it has nothing of its own
    await other.panel('history');
    await rowCount(other, 1);
    await other.press(rows(other).first().locator('.pictures button').nth(1));
    await other.until(({ job, shown }) => job?.selected === 1 && shown === 'result');
    assert.deepEqual(await other.state(({ job }) => [...job.results[1].tokens]), made.results[1].tokens);
    await other.panel('history');
    await other.press(rows(other).first().locator('[data-key$="-restore"]'));
    await other.until(({ task, edit }) => task === 'change' && edit.doc !== null);
    assert.equal((await other.mask()).length, (await studio.mask()).length, 'what was painted is there');
    await other.close();
  }, workspace),

  'a job under way is followed from another device': at(['phone', 'wide'], async (studio, { mock, size }) => {
    await studio.set({ options: { steps: 30, count: 2 } });
    await studio.start();
    await studio.until(({ job }) => job?.progress?.step >= 2);
    const other = await openStudio(studio.context.browser(), mock.url, { size });
    await other.page.waitForSelector('.toast'); // it is offered
    await other.panel('history');
    await other.page.waitForSelector('#panel-history [role="progressbar"]');
    await other.look('workspace-running');
    await other.press(other.page.locator('#panel-history [data-key$="-follow"]'));
    await other.until(({ job }) => job?.phase === 'running' && job.progress?.step > 0);
    assert.equal((await other.finished()).phase, 'done');
    const codes = (page) => page.state(({ job }) => job.results.map(({ tokens }) => [...tokens].join()));
    await studio.finished();
    assert.deepEqual(await codes(other), await codes(studio));
    await other.close();
  }, { ...workspace, slow: true }),

  'what is kept goes out as a file and comes back': at(['phone', 'wide'], async (studio) => {
    await studio.run();
    await studio.panel('history');
    await rowCount(studio, 1);
    const waiting = studio.page.waitForEvent('download');
    await studio.press('[data-key="shelf-save"]');
    const file = await (await waiting).path();
    assert.equal((await readFile(file)).toString(), '["1"]');
    await studio.press(rows(studio).first().locator('[data-key$="-trash"]'));
    await rowCount(studio, 0);
    await studio.page.setInputFiles('#project-file', { name: 'project.zip', mimeType: 'application/zip', buffer: await readFile(file) });
    await rowCount(studio, 1);
  }, workspace),

  'a server that does not answer is said, with a way on': at(['phone', 'wide'], async (studio, { mock }) => {
    await studio.panel('history');
    await studio.page.waitForSelector('[data-key="shelf-generate"]');
    await mock.stop();
    await studio.press('#shelf-starred');
    await studio.page.waitForSelector('[data-key="shelf-retry"]');
    assert.match(await studio.page.locator('#panel-history [role="alert"]').innerText(), /does not answer/);
    await studio.look('workspace-away');
  }, workspace),

  'the program killed in the middle of a job: after its restart the page shows what was done and goes on': async (surroundings) => {
    if (surroundings.standIn) return; // a stand-in keeps nothing
    for (const size of ['phone', 'wide']) {
      await onProgram(surroundings, size, async ({ studio, server, again }) => {
        await studio.set({ options: { steps: 32, count: 18, seed: 5 }, form: {} }); // two fills of at most 16
        await studio.start();
        await studio.until(({ job }) => job?.progress?.step >= 34, null, 300_000); // the first fill is done
        const { id, width } = await studio.state(({ job }) => ({ id: job.id, width: job.width }));
        await server.kill();
        const later = await again();
        await studio.reload();
        await studio.until(({ job }, before) => job?.id === before && (job.progress?.step ?? 0) > 0, id, 60_000);
        const job = await studio.finished();
        assert.equal(job.phase, 'done', job.error);
        assert.equal(job.results.length, 18);
        assert.equal(job.width, width);
        await studio.panel('history');
        await rowCount(studio, 1);
        await studio.look('workspace-after-kill');
        // The same seed without a kill makes the same codes.
        await studio.panel('task');
        await studio.run();
        const whole = await studio.finished();
        assert.deepEqual(whole.results.map(({ tokens }) => tokens), job.results.map(({ tokens }) => tokens));
        assert.equal(await later.stop(), 0);
      });
    }
  },
};

/** What was made stays at hand: seed and options, again, download, drag out, paste in, command, link. */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { examples, openStudio } from '../studio.mjs';

const run = promisify(execFile);

/** A studio with one finished change, of four pictures unless said otherwise. */
async function changed(browser, url, options, { steps = 64, count = 4 } = {}) {
  const studio = await openStudio(browser, url, options);
  await studio.open('emoji_u1f9d0.png');
  await studio.tool('rectangle');
  await studio.drag([[11, 5], [13, 10]]);
  await studio.quick({ steps, count });
  const job = await studio.runToEnd();
  return { studio, job };
}
const clipboard = (studio) => studio.page.evaluate(() => navigator.clipboard.readText());

export default {
  'an entry keeps seed and options, over a reload, and runs again with another seed': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const { studio, job } = await changed(browser, (await server()).url, { size, screenshots });
      await studio.panel('history');
      assert.match(await studio.page.locator('.entry .facts').innerText(), new RegExp(`seed ${job.request.seed} · 64 steps · temperature 1 · mlm`));
      assert.equal(await studio.page.locator('.entry img').count(), 4);
      await studio.press(studio.page.locator('.entry button', { hasText: 'Another seed' }));
      const again = await studio.done();
      assert.notEqual(again.request.seed, job.request.seed);
      assert.notDeepEqual(again.results[0].tokens, job.results[0].tokens);
      await studio.page.waitForFunction(() => document.querySelectorAll('.entry').length === 2);
      await studio.page.evaluate(() => document.querySelector('.entry').scrollIntoView({ block: 'center' }));
      await studio.look('history');
      await studio.reload();
      await studio.panel('history');
      await studio.page.waitForFunction(() => document.querySelectorAll('.entry').length === 2);
      await studio.press(studio.page.locator('.entry').nth(1).locator('.pictures button').nth(2));
      await studio.page.waitForFunction(() => /3 of 4/.test(document.querySelector('#shown').innerText));
      assert.deepEqual(await studio.state(({ job: now }) => [...now.results[2].tokens]), job.results[2].tokens);
      await studio.close();
    }
  },

  'a link reproduces the job in another window': async ({ browser, server }) => {
    const { url } = await server();
    const { studio, job } = await changed(browser, url, {});
    await studio.panel('history');
    await studio.press('.entry [data-key$="-link"]');
    await studio.page.waitForFunction(() => document.querySelector('#toasts').innerText.includes('Link copied'));
    const link = await clipboard(studio);
    await studio.close();
    assert.match(link, /#job=[\w-]+$/);
    const other = await openStudio(browser, url, { fragment: link.slice(link.indexOf('#')) });
    await other.press(other.page.locator('.toast button', { hasText: 'Run it' }));
    const same = await other.done();
    assert.deepEqual(same.results.map(({ tokens }) => tokens), job.results.map(({ tokens }) => tokens));
    assert.equal((await other.mask()).length, 18, 'what was painted is there again');
    await other.close();
  },

  'a damaged link is said to be one': async ({ browser, server }) => {
    const studio = await openStudio(browser, (await server()).url, { fragment: '#job=AAAA' });
    await studio.page.waitForSelector('.toast.bad');
    assert.match(await studio.page.locator('.toast.bad').innerText(), /damaged/);
    await studio.close();
  },

  'the command line of a job is copied, and runs as it is': async ({ browser, server, program }) => {
    const { studio, job } = await changed(browser, (await server()).url, {}, { steps: 8, count: 2 });
    const copied = async () => {
      await studio.panel('history');
      await studio.press(studio.page.locator('.entry [data-key$="-terminal"]').first());
      await studio.page.waitForFunction(() => document.querySelector('#toasts').innerText.includes('Command copied'));
      await studio.page.evaluate(() => document.querySelectorAll('.toast [aria-label="Dismiss"]').forEach((button) => button.click()));
      return clipboard(studio);
    };
    const commands = [await copied()];
    assert.match(commands[0], /tessera inpaint /);
    assert.match(commands[0], /--steps 8/);
    assert.match(commands[0], /--count 2/);
    await studio.task('Generate');
    await studio.quick({ steps: 8, count: 1 });
    await studio.runToEnd();
    commands.push(await copied());
    await studio.task('Extend');
    await studio.open('emoji_u1f683.png', 'emoji_u1f69a.png');
    await studio.quick({ steps: 8, count: 1 });
    await studio.runToEnd();
    commands.push(await copied());
    await studio.close();
    for (const command of commands) {
      const folder = await mkdtemp(join(tmpdir(), 'tessera-command-'));
      const { stdout, stderr } = await run('bash', ['-c', command], { cwd: folder, env: { ...process.env, PATH: `${dirname(program)}:${process.env.PATH}` } });
      const made = (await readdir(folder, { recursive: true })).filter((name) => /\.(png|webp|jpe?g)$/.test(name) && !/(^|\/)(image|mask|piece\d)\.png$/.test(name));
      assert.ok(made.length > 0, `${command.slice(-300)}\n${stdout}${stderr}`);
      await rm(folder, { recursive: true });
    }
    assert.ok(job.results.length === 2);
  },

  'a result is downloaded as PNG and can be dragged out': async ({ browser, server }) => {
    const { studio, job } = await changed(browser, (await server()).url, {});
    await studio.press(studio.page.locator('#tray .thumb').nth(2));
    const wait = studio.page.waitForEvent('download');
    await studio.press('#shown [aria-label="Download"]');
    const download = await wait;
    assert.equal(download.suggestedFilename(), `emoji_u1f9d0-change-${job.request.seed}-2.png`);
    const bytes = await readFile(await download.path());
    assert.equal(bytes.toString('latin1', 1, 4), 'PNG');
    assert.ok(bytes.includes('tessera'), 'the picture carries the command that made it');
    const offered = await studio.page.evaluate(() => {
      const data = new DataTransfer();
      document.querySelectorAll('#tray .thumb')[2].dispatchEvent(new DragEvent('dragstart', { dataTransfer: data, bubbles: true }));
      return data.getData('DownloadURL');
    });
    assert.match(offered, new RegExp(`^image/png:change-${job.request.seed}-2\\.png:blob:`));
    await studio.close();
  },

  'a result that is dropped in sets its recipe up again': async ({ browser, server }) => {
    const { url } = await server();
    const studio = await openStudio(browser, url);
    await studio.quick({ steps: 8, count: 2 });
    const job = await studio.runToEnd();
    const bytes = await studio.page.evaluate(async () => {
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      return [...new Uint8Array(await store.get().job.results[1].blob.arrayBuffer())];
    });
    await studio.close();
    const other = await openStudio(browser, url);
    await other.page.evaluate((data) => {
      const files = new DataTransfer();
      files.items.add(new File([Uint8Array.from(data)], 'kept.png', { type: 'image/png' }));
      document.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
    }, bytes);
    await other.press(other.page.locator('.toast button', { hasText: 'Set up its recipe' }));
    await other.until(({ task, options }, seed) => task === 'generate' && options.seed === seed && options.steps === 8, job.request.seed);
    const same = await other.runToEnd();
    assert.deepEqual(same.results.map(({ tokens }) => tokens), job.results.map(({ tokens }) => tokens));
    await other.close();
  },

  'a picture is pasted in, and one is dropped': async ({ browser, server }) => {
    const studio = await openStudio(browser, (await server()).url);
    const bytes = (await readFile(join(examples, 'emoji_u1f683.png'))).toString('base64');
    const give = (type) => studio.page.evaluate(([kind, text]) => {
      const file = new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], 'tram.png', { type: 'image/png' });
      const data = new DataTransfer();
      data.items.add(file);
      document.dispatchEvent(kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true }) : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    }, [type, bytes]);
    for (const type of ['paste', 'drop']) {
      await give(type);
      await studio.until((state) => state.edit.doc !== null);
      assert.deepEqual(await studio.state(({ edit }) => [edit.doc.width, edit.doc.height, edit.doc.name]), [64, 64, 'tram']);
      await studio.settled();
      await studio.page.keyboard.press('Control+z');
      assert.equal(await studio.state(({ edit }) => edit.doc), null);
    }
    await studio.close();
  },
};

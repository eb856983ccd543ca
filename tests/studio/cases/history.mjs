/** What was made stays at hand: seed and options, again, download, drag out, paste in, command, link. */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { examples, openStudio } from '../studio.mjs';

/** A studio with one finished change of four pictures. */
async function changed(browser, url, options) {
  const studio = await openStudio(browser, url, options);
  await studio.open('emoji_u1f9d0.png');
  await studio.tool('rectangle');
  await studio.drag([[11, 5], [13, 10]]);
  await studio.quick({ steps: 64, count: 4 });
  const job = await studio.runToEnd();
  return { studio, job };
}
const clipboard = (studio) => studio.page.evaluate(() => navigator.clipboard.readText());

export default {
  'an entry keeps seed and options, over a reload, and runs again with another seed': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const { studio, job } = await changed(browser, (await server()).url, { size, screenshots });
      await studio.page.locator('#tab-history').click();
      assert.match(await studio.page.locator('.entry .facts').innerText(), /seed 1 · 64 steps/);
      assert.equal(await studio.page.locator('.entry img').count(), 4);
      await studio.page.locator('.entry button', { hasText: 'Another seed' }).click();
      const again = await studio.done();
      assert.notEqual(again.request.seed, 1);
      assert.notDeepEqual(again.results[0].tokens, job.results[0].tokens);
      await studio.page.waitForFunction(() => document.querySelectorAll('.entry').length === 2);
      await studio.page.evaluate(() => document.querySelector('.entry').scrollIntoView({ block: 'center' }));
      await studio.look('history');
      await studio.page.reload();
      await studio.page.waitForFunction(() => document.querySelector('#model').options.length > 0);
      await studio.page.locator('#tab-history').click();
      await studio.page.waitForFunction(() => document.querySelectorAll('.entry').length === 2);
      await studio.page.locator('.entry').nth(1).locator('.pictures button').nth(2).click();
      await studio.page.waitForFunction(() => /3 of 4/.test(document.querySelector('#shown').innerText));
      assert.deepEqual(await studio.state(({ job: now }) => [...now.results[2].tokens]), job.results[2].tokens);
      await studio.close();
    }
  },

  'a link reproduces the job in another window': async ({ browser, server }) => {
    const { url } = await server();
    const { studio, job } = await changed(browser, url, {});
    await studio.page.locator('#tab-history').click();
    await studio.page.locator('.entry [data-key$="-link"]').click();
    await studio.page.waitForFunction(() => document.querySelector('#toasts').innerText.includes('Link copied'));
    const link = await clipboard(studio);
    await studio.close();
    assert.match(link, /#job=[\w-]+$/);
    const other = await openStudio(browser, url, { fragment: link.slice(link.indexOf('#')) });
    await other.page.locator('.toast button', { hasText: 'Run it' }).click();
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

  'the command line of a job is copied': async ({ browser, server }) => {
    const { studio } = await changed(browser, (await server()).url, {});
    await studio.page.locator('#tab-history').click();
    await studio.page.locator('.entry [data-key$="-terminal"]').click();
    await studio.page.waitForFunction(() => document.querySelector('#toasts').innerText.includes('Command copied'));
    const command = await clipboard(studio);
    assert.match(command, /^tessera inpaint /);
    assert.match(command, /--steps 64/);
    assert.match(command, /--count 4/);
    await studio.close();
  },

  'a result is downloaded as PNG and can be dragged out': async ({ browser, server }) => {
    const { studio } = await changed(browser, (await server()).url, {});
    await studio.page.locator('#tray .thumb').nth(2).click();
    const wait = studio.page.waitForEvent('download');
    await studio.page.locator('#shown [aria-label="Download"]').click();
    const download = await wait;
    assert.equal(download.suggestedFilename(), 'change-1-2.png');
    const bytes = await readFile(await download.path());
    assert.equal(bytes.toString('latin1', 1, 4), 'PNG');
    assert.ok(bytes.includes('tessera'), 'the picture carries the command that made it');
    const offered = await studio.page.evaluate(() => {
      const data = new DataTransfer();
      document.querySelectorAll('#tray .thumb')[2].dispatchEvent(new DragEvent('dragstart', { dataTransfer: data, bubbles: true }));
      return data.getData('DownloadURL');
    });
    assert.match(offered, /^image\/png:change-1-2\.png:blob:/);
    await studio.close();
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

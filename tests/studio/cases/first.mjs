/** The first five minutes: from an empty page to a changed picture of twelve megapixels that is still there after a reload. */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { examples, openStudio } from '../studio.mjs';

/** A street of 4000 x 3000 pixels, made in the page out of example pictures, and dropped as a file is. */
async function dropStreet(studio) {
  const parts = await Promise.all(['emoji_u1f9d0.png', 'emoji_u1f69a.png', 'emoji_u1f683.png'].map(async (name) => (await readFile(join(examples, name))).toString('base64')));
  await studio.page.evaluate(async (files) => {
    const pictures = await Promise.all(files.map((text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]))));
    const canvas = Object.assign(document.createElement('canvas'), { width: 4000, height: 3000 });
    const context = canvas.getContext('2d');
    const sky = context.createLinearGradient(0, 0, 0, 3000);
    sky.addColorStop(0, '#cfe4f5');
    sky.addColorStop(0.75, '#fdfdfb');
    sky.addColorStop(1, '#e6e1d6');
    context.fillStyle = sky;
    context.fillRect(0, 0, 4000, 3000);
    context.imageSmoothingQuality = 'high';
    context.drawImage(pictures[0], 1450, 750, 1100, 1100);
    context.drawImage(pictures[1], 180, 1650, 1150, 1150);
    context.drawImage(pictures[2], 2700, 1650, 1150, 1150);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    const data = new DataTransfer();
    data.items.add(new File([blob], 'street.png', { type: 'image/png' }));
    document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  }, parts);
  await studio.until(({ edit }) => edit.area !== null);
  await studio.settled();
}

const dismiss = (studio) => studio.page.evaluate(() => document.querySelectorAll('.toast [aria-label="Dismiss"]').forEach((button) => button.click()));

export default {
  'from an empty page to a changed photograph that outlives a reload': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const studio = await openStudio(browser, (await server()).url, { size, screenshots });
      await studio.page.waitForFunction(() => document.querySelectorAll('#empty .example img').length > 0 && [...document.querySelectorAll('#empty .example img')].every((image) => image.naturalWidth > 0));
      await studio.look('first-1-empty');
      // The one large button.
      if (size === 'wide') await studio.set({ options: { seed: 1 }, form: {} }); // as the page comes, a seed that can be had again
      else await studio.quick({ steps: 32 });
      await studio.start();
      await studio.done();
      await studio.look('first-2-made');
      // A picture of one's own.
      await dropStreet(studio);
      assert.equal(await studio.state((state) => state.task), 'change');
      await studio.tool('area');
      await dismiss(studio);
      await studio.page.locator('#stage').focus();
      for (let k = 0; k < 15; k++) await studio.page.keyboard.press('Shift+ArrowRight');
      for (let k = 0; k < 3; k++) await studio.page.keyboard.press('ArrowUp');
      await studio.settled();
      await studio.look('first-3-box');
      await studio.tool('brush');
      await studio.page.keyboard.press(']');
      await studio.drag([[9, 5], [9, 10], [11, 6], [11, 10]]);
      await studio.look('first-4-painted');
      await studio.set({ options: size === 'wide' ? { seed: 3 } : { steps: 32 }, form: {} });
      const job = await studio.runToEnd();
      assert.equal(job.count, 9);
      await studio.press(studio.page.locator('#sheet button').nth(2));
      await studio.look('first-5-chosen');
      await studio.press('#shown [data-key="use"]');
      const touched = () => studio.state(({ edit }) => [edit.doc.name, edit.area.photo.width, edit.area.box, [...edit.area.touched].reduce((sum, value) => sum + value, 0)]);
      const before = await touched();
      assert.ok(before[3] > 10);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await studio.reload();
      await studio.settled();
      assert.deepEqual(await touched(), before);
      await studio.look('first-6-kept');
      await studio.close();
    }
  },

  'an example of the model is opened from the empty page, and its card tells what it knows': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone', 'small']) {
      const studio = await openStudio(browser, (await server()).url, { size, screenshots });
      await studio.press('#about');
      await studio.page.waitForSelector('#card-dialog[open] .example');
      assert.match(await studio.page.locator('#card-dialog').innerText(), /64 × 64 pixels/);
      await studio.look('card');
      await studio.page.keyboard.press('Escape');
      await studio.press(studio.page.locator('#empty .example').first());
      await studio.until(({ edit }) => edit.doc !== null);
      await studio.settled();
      assert.equal(await studio.state((state) => state.task), 'change');
      assert.equal(await studio.page.locator('#empty').isVisible(), false);
      await studio.close();
    }
  },
};

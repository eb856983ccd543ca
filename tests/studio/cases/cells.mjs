/** The inspector: likely codes of a cell, one chosen, the rest adapts. */
import { strict as assert } from 'node:assert';
import { openStudio } from '../studio.mjs';

export default {
  'a cell lists likely codes; choosing one sets it and fills its neighbours again': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const studio = await openStudio(browser, (await server()).url, { size, screenshots });
      await studio.open('emoji_u1f9d0.png');
      await studio.tool('inspect');
      const point = await studio.place(6, 9);
      await studio.page.mouse.click(point.x, point.y);
      await studio.page.waitForSelector('.candidates button');
      await studio.page.waitForFunction(() => [...document.querySelectorAll('.candidates img')].every((image) => image.complete && image.naturalWidth > 0));
      const candidates = await studio.state(({ inspect }) => inspect.candidates.map(({ token, probability }) => ({ token, probability })));
      assert.equal(candidates.length, 9);
      candidates.forEach(({ probability }, k) => {
        assert.ok(probability > 0 && probability <= 1);
        if (k) assert.ok(probability <= candidates[k - 1].probability, 'likeliest first');
      });
      await studio.page.evaluate(() => window.scrollTo(0, document.querySelector('.candidates').getBoundingClientRect().top - 300));
      await studio.look('inspect');
      const before = await studio.state(({ edit }) => [...edit.doc.tokens]);
      const cell = 6 * 16 + 9;
      const choice = candidates.findIndex(({ token }) => token !== before[cell]);
      await studio.press(studio.page.locator('.candidates button').nth(choice));
      await studio.until((state) => state.edit.pins.size === 1, null, 60_000);
      const after = await studio.state(({ edit }) => [...edit.doc.tokens]);
      assert.equal(after[cell], candidates[choice].token);
      after.forEach((token, index) => {
        const away = Math.max(Math.abs(Math.floor(index / 16) - 6), Math.abs((index % 16) - 9));
        if (away > 2) assert.equal(token, before[index], 'cells out of reach stay');
      });
      // The panel shows the code; its button is pressed where the new neighbours still make it one of the likely ones.
      await studio.page.waitForFunction((code) => document.querySelectorAll('.candidates button').length === 9 &&
        [...document.querySelectorAll('dt')].some((term) => term.textContent === 'Code' && term.nextElementSibling.textContent === code), String(candidates[choice].token));
      const pressed = studio.page.locator('.candidates button[aria-pressed="true"]');
      if (await pressed.count()) assert.match(await pressed.getAttribute('aria-label'), new RegExp(`^Code ${candidates[choice].token},`));
      await studio.look('code-chosen');
      await studio.page.keyboard.press('Control+z');
      assert.deepEqual(await studio.state(({ edit }) => [...edit.doc.tokens]), before);
      await studio.close();
    }
  },

  'cells like one are painted together': async ({ browser, server }) => {
    const studio = await openStudio(browser, (await server()).url);
    await studio.open('emoji_u1f9d0.png');
    await studio.page.keyboard.press('i');
    const codes = await studio.state(({ edit }) => [...edit.doc.tokens]);
    const cellsOf = (code) => codes.flatMap((other, cell) => (other === code ? [cell] : []));
    const alike = codes.map(cellsOf).reduce((most, cells) => (cells.length > most.length ? cells : most));
    assert.ok(alike.length > 1);
    const point = await studio.place(Math.floor(alike[0] / 16), alike[0] % 16);
    await studio.page.mouse.click(point.x, point.y);
    await studio.page.waitForSelector('.candidates button');
    await studio.press('[data-key="alike"]');
    assert.deepEqual(await studio.mask(), alike);
    await studio.close();
  },

  'with nothing to adapt the code alone is decoded': async ({ browser, server }) => {
    const studio = await openStudio(browser, (await server()).url);
    await studio.open('emoji_u1f9d0.png');
    await studio.page.keyboard.press('i');
    const point = await studio.place(3, 3);
    await studio.page.mouse.click(point.x, point.y);
    await studio.page.waitForSelector('.candidates button');
    await studio.page.locator('#cell-adapt').selectOption('nothing');
    const before = await studio.state(({ edit }) => [...edit.doc.tokens]);
    const choice = await studio.state(({ inspect, edit }) => inspect.candidates.findIndex(({ token }) => token !== edit.doc.tokens[3 * 16 + 3]));
    await studio.press(studio.page.locator('.candidates button').nth(choice));
    await studio.until((state) => state.edit.pins.size === 1);
    const after = await studio.state(({ edit }) => [...edit.doc.tokens]);
    assert.deepEqual(after.flatMap((token, index) => (token === before[index] ? [] : [index])), [3 * 16 + 3]);
    await studio.close();
  },
};

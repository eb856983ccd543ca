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

  'cells are painted with codes of the palette, and decoded': async ({ browser, server, screenshots }) => {
    const studio = await openStudio(browser, (await server()).url, { screenshots });
    await studio.open('emoji_u1f9d0.png');
    const before = await studio.state(({ edit }) => [...edit.doc.tokens]);
    await studio.page.keyboard.press('k');
    await studio.page.waitForSelector('.code-board canvas');
    const point = await studio.place(13, 8);
    await studio.page.mouse.move(point.x, point.y);
    await studio.page.keyboard.press('y');
    const code = await studio.state((state) => state.code);
    assert.equal(code, before[13 * 16 + 8]);
    await studio.set({ brush: 1 });
    const image = await studio.pixels();
    await studio.drag([[1, 2], [1, 13]]);
    const painted = Array.from({ length: 12 }, (_, k) => 16 + 2 + k);
    const after = await studio.state(({ edit }) => [...edit.doc.tokens]);
    after.forEach((token, cell) => assert.equal(token, painted.includes(cell) ? code : before[cell], `cell ${cell}`));
    // The decode has come when a painted cell is no longer of one colour with all others of its code, or at the latest when the server has answered.
    await studio.page.waitForLoadState('networkidle');
    await studio.frame();
    const now = await studio.pixels();
    let away = 0;
    now.forEach((row, y) => row.forEach((value, k) => { const x = Math.floor(k / 3); if ((y >= 12 || x < 4 || x >= 60) && value !== image[y][k]) away++; }));
    assert.equal(away, 0, 'a cell beyond the painted ones the picture is as it was');
    await studio.look('palette');
    await studio.close();
  },

  'the page in Arabic with the shipped model': async ({ browser, server, screenshots }) => {
    for (const size of ['wide', 'phone']) {
      const studio = await openStudio(browser, (await server()).url, { size, screenshots, locale: 'ar' });
      await studio.page.waitForFunction(() => document.querySelectorAll('#empty .example img').length > 0 && [...document.querySelectorAll('#empty .example img')].every((image) => image.naturalWidth > 0));
      await studio.look('ar-start');
      await studio.open('emoji_u1f9d0.png');
      await studio.drag([[9, 5], [9, 10], [11, 6], [11, 10]]);
      await studio.look('ar-painted');
      await studio.close();
    }
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

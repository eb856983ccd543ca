/** Everything without a pointer: from an empty page to an edited picture, with what a screen reader hears on the way. */
import { strict as assert } from 'node:assert';
import { openStudio } from '../studio.mjs';

const heard = (studio) => studio.page.locator('#live').innerText();
const focused = (studio) => studio.page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText ?? document.activeElement.id);

export default {
  'an edit from an empty page by keys alone': async ({ browser, server, screenshots }) => {
    const studio = await openStudio(browser, (await server()).url, { screenshots });
    const { keyboard } = studio.page;
    await studio.quick({ steps: 16, count: 4 });
    // The first stop of the page leads past everything to the picture.
    await keyboard.press('Tab');
    assert.equal(await focused(studio), 'Skip to the picture');
    await keyboard.press('Control+Enter');
    await studio.done();
    assert.match(await heard(studio), /Generate: done, 4 pictures/);
    for (let k = 0; k < 60 && !/^Result 1 of 4$/.test(await focused(studio)); k++) await keyboard.press('Tab');
    assert.equal(await focused(studio), 'Result 1 of 4');
    await keyboard.press('ArrowRight');
    assert.equal(await focused(studio), 'Result 2 of 4');
    await keyboard.press('Enter');
    assert.match(await studio.page.locator('#shown').innerText(), /2 of 4/);
    await keyboard.press('2');
    assert.match(await heard(studio), /^Change\./);
    const codes = await studio.state(({ edit }) => [...edit.doc.tokens]);

    assert.equal(await studio.page.evaluate(() => document.activeElement.id), 'stage');
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowDown');
    await keyboard.press('ArrowRight');
    assert.match(await heard(studio), new RegExp(`row 2, column 2, code ${codes[17]}`));
    await keyboard.press('Enter');
    assert.match(await heard(studio), /marked, row 2, column 2/);
    await keyboard.press('Shift+ArrowRight');
    await keyboard.press('ArrowDown');
    await keyboard.press(' ');
    assert.deepEqual(await studio.mask(), [17, 18, 34]);
    await keyboard.press(' ');
    assert.deepEqual(await studio.mask(), [17, 18], 'the same key takes it back');
    await studio.look('keyboard');
    await keyboard.press('Control+Enter');
    await studio.until((state) => state.job.task === 'change');
    const job = await studio.done();
    // The picture was encoded anew, so that kept cells may have another code than before; all four results agree on it.
    for (const { tokens, order } of job.results) tokens.forEach((token, cell) => {
      if (cell === 17 || cell === 18) assert.ok(order[cell] > 0);
      else assert.deepEqual([token, order[cell]], [job.results[0].tokens[cell], 0]);
    });
    await keyboard.press('PageDown');
    await keyboard.press('PageDown');
    await keyboard.press('u');
    assert.match(await heard(studio), /Result 2 is the picture now/);
    assert.deepEqual(await studio.state(({ edit }) => [...edit.doc.tokens]), job.results[1].tokens);
    await keyboard.press('Control+z');
    assert.match(await heard(studio), /Undone/);
    await studio.close();
  },

  'handles, pieces and cells by keys': async ({ browser, server }) => {
    const studio = await openStudio(browser, (await server()).url);
    const { keyboard } = studio.page;
    await studio.open('emoji_u1f683.png');
    await keyboard.press('4');
    await studio.page.locator('#stage').focus();
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowUp', 'Shift+ArrowRight']) await keyboard.press(key);
    assert.deepEqual(await studio.canvas(), { size: [68, 68], pieces: [[[0, 0, 64, 64], [0, 4]]] });
    assert.match(await heard(studio), /The canvas is 68 by 68 pixels/);
    await studio.open('emoji_u1f69a.png');
    await studio.page.locator('#stage').focus();
    for (const key of ['ArrowUp', 'Shift+ArrowLeft', 'ArrowRight', 'ArrowRight']) await keyboard.press(key);
    assert.deepEqual((await studio.canvas()).pieces[1], [[0, 0, 60, 64], [68, 0]]);
    await keyboard.press('Escape'); // lets it go: the arrows are the canvas's again
    await keyboard.press('ArrowLeft');
    assert.deepEqual((await studio.canvas()).size, [132, 68]);
    await studio.page.locator('[data-key="piece-2"]').focus();
    await keyboard.press('Enter');
    await studio.page.locator('#stage').focus();
    await keyboard.press('Delete');
    assert.equal((await studio.canvas()).pieces.length, 1);
    await keyboard.press('2');
    await studio.page.locator('#stage').focus();
    await keyboard.press('ArrowDown');
    await keyboard.press('i');
    await studio.page.waitForSelector('.candidates button');
    assert.match(await heard(studio), /likely codes listed/);
    await studio.close();
  },

  'the keys are listed, and the dialog has no violation': async ({ browser, server, screenshots }) => {
    const studio = await openStudio(browser, (await server()).url, { screenshots });
    await studio.page.keyboard.press('?');
    assert.ok(await studio.page.locator('#keys-dialog').isVisible());
    await studio.look('keys');
    await studio.page.keyboard.press('Escape');
    assert.ok(!(await studio.page.locator('#keys-dialog').isVisible()));
    await studio.close();
  },
};

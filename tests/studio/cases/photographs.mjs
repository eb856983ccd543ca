/** Pictures of any size and shape, worked on through a box. */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { at, dropPhotograph, every, wait } from '../stand_in.mjs';

export default {
  'a photograph of twelve megapixels is worked on through a box, and the rest of it stays': every(async (studio, { size }) => {
    await dropPhotograph(studio, 4000, 3000);
    await studio.until(({ edit }) => edit.doc !== null);
    await studio.settled();
    assert.deepEqual(await studio.state(({ edit: { doc, area } }) => [doc.width, doc.height, doc.h * doc.w, area.box]), [64, 64, 256, { x: 500, y: 0, width: 3000, height: 3000 }]);
    // The box is moved to the left by hand, then made smaller.
    await studio.tool('area');
    await studio.page.waitForTimeout(100);
    if (size !== 'tablet') await studio.look(`area-${size}`);
    const place = (x, y) => studio.page.evaluate(async ([px, py]) => {
      const stage = await import(new URL('studio/stage.js', document.baseURI));
      const scale = stage.currentScale();
      const { width, height } = stage.stageSize();
      const box = document.getElementById('stage').getBoundingClientRect();
      return { x: box.left + width / 2 + (px - 2000) * scale, y: box.top + height / 2 + (py - 1500) * scale };
    }, [x, y]);
    const from = await place(2000, 1500);
    const to = await place(1500, 1500);
    await studio.page.mouse.move(from.x, from.y);
    await studio.page.mouse.down();
    await wait(60);
    await studio.page.mouse.move((from.x + to.x) / 2, to.y, { steps: 3 });
    await studio.page.mouse.move(to.x - 2, to.y, { steps: 3 });
    await studio.page.mouse.up();
    await studio.frame();
    assert.equal(await studio.state(({ edit }) => edit.area.box.x), 0);
    await studio.page.locator('#stage').focus();
    for (let k = 0; k < 6; k++) await studio.page.keyboard.press('Shift+ArrowRight');
    const box = await studio.state(({ edit }) => edit.area.box);
    assert.ok(box.width < 2200 && box.width === box.height);
    // Painted in the box, made anew, used, and the whole photograph downloaded.
    await studio.tool('brush');
    await studio.settled();
    await studio.drag([[7, 7], [8, 8]]);
    const job = await studio.run();
    assert.deepEqual([job.phase, job.width, job.height], ['done', 64, 64]);
    await studio.press(studio.page.locator('#sheet button').nth(0));
    await studio.press('#shown [data-key="use"]');
    const download = studio.page.waitForEvent('download');
    await studio.tool('download');
    const bytes = await readFile(await (await download).path());
    const found = await studio.page.evaluate(async ([text, { x, y, width }]) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
      const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
      canvas.getContext('2d').drawImage(bitmap, 0, 0);
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      const before = store.get().edit.area.photo.image.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height).data;
      const after = canvas.getContext('2d').getImageData(0, 0, bitmap.width, bitmap.height).data;
      const cell = width / 16;
      const near = [x + 3 * cell, x + 13 * cell, y + 3 * cell, y + 13 * cell];
      let away = 0, within = 0;
      for (let py = 0; py < bitmap.height; py += 3) for (let px = 0; px < bitmap.width; px += 3) {
        const k = 4 * (py * bitmap.width + px);
        if (before[k] === after[k] && before[k + 1] === after[k + 1] && before[k + 2] === after[k + 2]) continue;
        if (px > near[0] && px < near[1] && py > near[2] && py < near[3]) within++;
        else away++;
      }
      return { size: [bitmap.width, bitmap.height], away, within };
    }, [bytes.toString('base64'), box]);
    assert.deepEqual([found.size, found.away], [[4000, 3000], 0], 'the photograph is whole, and what was not painted is as it was');
    assert.ok(found.within > 100, 'what was painted is another');
    if (size === 'tablet') await studio.look(`photograph-${size}`);
  }),

  'what is made in a box takes on the colours around it, where that is asked for': at(['phone', 'wide'], async (studio) => {
    await dropPhotograph(studio, 800, 800, 'plain', 'rgb(100 150 200)');
    await studio.until(({ edit }) => edit.doc !== null);
    await studio.settled();
    await studio.quick({ steps: 4, count: 1 });
    await studio.drag([[7, 5], [7, 9]]);
    // The colours of the filled cells that have the code of the cells around them.
    const filled = () => studio.state(({ job, edit }) => {
      const [{ image, tokens, order }] = job.results;
      const given = tokens[order.findIndex((step) => step === 0)];
      const cells = [...order.keys()].filter((cell) => order[cell] > 0 && tokens[cell] === given);
      const colour = (cell) => [...image.getContext('2d').getImageData((cell % 16) * 4 + 2, Math.floor(cell / 16) * 4 + 2, 1, 1).data.slice(0, 3)];
      const [r, g, b] = edit.doc.image.getContext('2d').getImageData(0, 0, 1, 1).data;
      return { count: cells.length, colours: cells.map(colour), around: [r, g, b], far: colour(15 * 16 + 15) };
    });
    const off = (colours, wanted) => Math.max(...colours.flatMap((colour) => colour.map((value, c) => Math.abs(value - wanted[c]))));
    await studio.runToEnd();
    const matched = await filled();
    assert.ok(matched.count > 2);
    assert.ok(off(matched.colours, matched.around) <= 2, `${JSON.stringify(matched)}: nothing is seen of the edit`);
    assert.deepEqual(matched.far, matched.around);
    await studio.panel('task');
    await studio.press('label[for="change-match"]');
    await studio.runToEnd();
    const plain = await filled();
    assert.ok(off(plain.colours, [110, 146, 218]) <= 2, `${JSON.stringify(plain)}: as the codec has it`);
  }),

  'the match of colours is the mean and the deviation of the ring': at(['wide'], async (studio) => {
    const made = await studio.page.evaluate(async () => {
      const { matchedColours, ringOf } = await import(new URL('studio/colour_match.js', document.baseURI));
      const grid = { h: 8, w: 8, factor: 4 };
      const canvas = (paint) => {
        const made = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
        const context = made.getContext('2d', { willReadFrequently: true });
        const pixels = context.createImageData(32, 32);
        for (let i = 0; i < 1024; i++) pixels.data.set([...paint(i % 32, Math.floor(i / 32)), 255], 4 * i);
        context.putImageData(pixels, 0, 0);
        return made;
      };
      const photograph = (x, y) => [60 + ((x * 7 + y * 3) % 80), 40 + ((x * 3 + y * 11) % 120), 128];
      const cells = [27, 28, 35, 36];
      // A decode that lifts red, dulls green and shifts blue: all of that is undone, in the filled cells too.
      const decode = canvas((x, y) => { const [r, g, b] = photograph(x, y); return [r + 30, 20 + g * 0.8, b - 9]; });
      const out = matchedColours(decode, canvas(photograph), cells, grid).getContext('2d').getImageData(0, 0, 32, 32).data;
      let worst = 0;
      for (let i = 0; i < 1024; i++) photograph(i % 32, Math.floor(i / 32)).forEach((value, c) => { worst = Math.max(worst, Math.abs(out[4 * i + c] - value)); });
      const all = Array.from({ length: 64 }, (_, k) => k);
      return { worst, ring: ringOf([27], grid).length, corner: ringOf([0], grid).sort((a, b) => a - b), same: matchedColours(decode, canvas(photograph), all, grid) === decode };
    });
    assert.ok(made.worst <= 2, `${made.worst}`);
    assert.deepEqual([made.ring, made.corner, made.same], [24, [1, 2, 8, 9, 10, 16, 17, 18], true]);
  }),

  'pictures of any shape come in, or it is said why not': at(['phone', 'wide'], async (studio) => {
    const drop = (width, height) => dropPhotograph(studio, width, height, `${width} by ${height}`);
    const wanted = { '9000 by 700': { x: 4150, y: 0, width: 700, height: 700 }, '90 by 2000': { x: 0, y: 955, width: 90, height: 90 }, '6000 by 5000': null };
    for (const [name, box] of Object.entries(wanted)) {
      const [width, height] = name.split(' by ').map(Number);
      await drop(width, height);
      await studio.until(({ edit }, called) => edit.doc?.name === called, name, 60_000);
      const area = await studio.state(({ edit }) => ({ box: edit.area.box, photo: [edit.area.photo.width, edit.area.photo.height] }));
      if (box) assert.deepEqual(area, { box, photo: [width, height] });
      else assert.ok(area.photo[0] * area.photo[1] <= 24.1e6 && Math.abs(area.photo[0] / area.photo[1] - 1.2) < 0.01, 'thirty megapixels are scaled down');
    }
    await drop(20, 20);
    await studio.until(({ edit }) => edit.doc?.name === '20 by 20');
    assert.deepEqual(await studio.state(({ edit }) => [edit.doc.width, edit.doc.height, edit.area]), [64, 64, null]);
    await drop(2, 5000);
    await studio.page.waitForSelector('.toast.bad');
    assert.match(await studio.page.locator('.toast.bad').innerText(), /too long and narrow/);
  }),

  'what is painted stays where it is in the photograph, over a move of the box and a reload': at(['phone', 'wide'], async (studio) => {
    await dropPhotograph(studio, 1600, 1200);
    await studio.until(({ edit }) => edit.doc !== null);
    await studio.settled();
    await studio.drag([[8, 4], [8, 6]]);
    const before = await studio.mask();
    await studio.tool('area');
    await studio.page.locator('#stage').focus();
    await studio.page.keyboard.press('ArrowRight'); // a sixteenth of the box: one cell
    await studio.settled();
    assert.deepEqual(await studio.mask(), before.map((cell) => cell - 1));
    const box = await studio.state(({ edit }) => edit.area.box);
    await wait(1500);
    await studio.reload();
    await studio.settled();
    assert.deepEqual(await studio.state(({ edit }) => [edit.area.box, edit.area.photo.width]), [box, 1600]);
    assert.deepEqual(await studio.mask(), before.map((cell) => cell - 1));
  }),
};

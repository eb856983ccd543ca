/** When things go wrong, against the stand-in server, which makes them go wrong; and models that take words or classes. */
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { startMock } from '../mock_server.mjs';
import { source } from '../options.mjs';
import { openStudio } from '../studio.mjs';

const studioFolder = join(source, 'src/server/studio');
const withTrouble = (troubles, body, options = {}) => async ({ browser, screenshots }) => {
  const mock = await startMock({ root: studioFolder, troubles });
  const studio = await openStudio(browser, mock.url, { expectErrors: true, screenshots, ...options });
  await body(studio, mock);
  await studio.close();
  await mock.stop();
};
const complaint = async (studio) => {
  await studio.page.waitForSelector('.toast.bad');
  return studio.page.locator('.toast.bad > span').innerText();
};
const press = (studio) => studio.press('#run-bar [data-key="run"]');

export default {
  'a full queue says when there is room': withTrouble({ full: true }, async (studio) => {
    await studio.start();
    assert.equal(await complaint(studio), 'The server has as much work waiting as it takes. It should have room in about 7 s.');
    await studio.look('full');
  }),
  'a refused option is named in the words of the server': withTrouble({ refuse: 'temperature: -1, expected a number from 0' }, async (studio) => {
    await studio.start();
    assert.equal(await complaint(studio), 'temperature: -1, expected a number from 0');
  }),
  'a job that fails says why and leaves the page usable': withTrouble({ fail: true }, async (studio, mock) => {
    await studio.start();
    assert.match(await complaint(studio), /the denoiser gave NaN/);
    mock.troubles.fail = false;
    await studio.start();
    assert.equal((await studio.finished()).phase, 'done');
  }),
  'cancel ends a job, and Escape does too': withTrouble({ slow: true }, async (studio) => {
    for (const stop of [() => press(studio), () => studio.page.keyboard.press('Escape')]) {
      await studio.start();
      await studio.page.waitForFunction(() => /Step 2 of/.test(document.querySelector('#run-bar').innerText));
      await stop();
      assert.equal((await studio.finished()).phase, 'cancelled');
      assert.match(await studio.page.locator('.toast').last().innerText(), /Cancelled/);
    }
  }),
  'a server that went away is said to be gone': withTrouble({}, async (studio, mock) => {
    await mock.stop();
    await studio.start();
    assert.match(await complaint(studio), /does not answer/);
  }),
  'a key is asked for where the server wants one': withTrouble({}, async (studio, mock) => {
    await studio.page.waitForLoadState('networkidle'); // a late request of the page's own would be asked for the key before the button is pressed
    mock.troubles.key = 'sesame';
    await studio.start();
    await studio.page.waitForSelector('#key-dialog[open]');
    await studio.look('key');
    await studio.page.keyboard.type('wrong');
    await studio.page.keyboard.press('Enter');
    await studio.page.waitForFunction(() => /not right/.test(document.querySelector('#key-dialog').innerText));
    await studio.page.keyboard.type('sesame');
    await studio.page.keyboard.press('Enter');
    assert.equal((await studio.finished()).phase, 'done');
  }),
  'words appear for a model that takes them, and are sent': withTrouble({ condition: 'text' }, async (studio) => {
    await studio.option('option-prompt', 'a bear');
    await studio.look('text');
    const job = await studio.run();
    assert.equal(job.request.prompt, 'a bear');
    assert.equal('cfg_scale' in job.request, false, 'the model decides what was not set');
    await studio.option('option-cfg_scale', '3');
    assert.equal((await studio.run()).request.cfg_scale, 3);
    assert.equal('class' in job.request, false);
  }),
  'classes appear for a model that takes them, and no words': withTrouble({ condition: 'class', classes: ['cats', 'dogs', '2'] }, async (studio) => {
    assert.equal(await studio.page.locator('#option-prompt').count(), 0);
    await studio.panel('task');
    await studio.page.locator('#option-class').selectOption('2');
    assert.equal((await studio.run()).request.class, '2');
  }, { size: 'phone' }),
  'a model without a condition shows neither': withTrouble({}, async (studio) => {
    assert.equal(await studio.page.locator('#option-prompt, #option-class, #option-cfg_scale').count(), 0);
  }),
};

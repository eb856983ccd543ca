/** What a model that takes words makes of them: the text model that is shipped. */
import { strict as assert } from 'node:assert';
import { openStudio } from '../studio.mjs';

const withWords = (sizes, body) => async ({ browser, serverOf, screenshots }) => {
  const server = await serverOf('models/emoji64-text');
  for (const size of sizes) {
    const studio = await openStudio(browser, server.url, { size, screenshots });
    await body(studio, size);
    await studio.close();
  }
  assert.equal(await server.stop(), 0);
};

/** Mean of the colour values of all results of the job. */
async function brightness(studio, count) {
  let sum = 0;
  let values = 0;
  for (let k = 0; k < count; k++) for (const row of await studio.pixels(k)) for (const value of row) [sum, values] = [sum + value, values + 1];
  return sum / values;
}

export default {
  'words make pictures, as the model suggests to sample it': withWords(['wide', 'phone'], async (studio) => {
    const suggested = await studio.state(({ capabilities }) => capabilities.models[0].defaults);
    assert.deepEqual([suggested.sampler, suggested.steps, suggested.cfg_scale], ['purity', 100, 2]);
    await studio.option('option-prompt', 'judge: light skin tone');
    await studio.quick({ steps: 50, count: 4 });
    await studio.set({ options: { ...(await studio.state((state) => state.options)), seed: 1 }, form: {} });
    const light = await studio.runToEnd();
    assert.deepEqual([light.request.prompt, light.request.cfg_scale, light.effective.condition.cfg_scale], ['judge: light skin tone', undefined, 2]);
    const before = await brightness(studio, 4);
    await studio.option('option-prompt', 'judge: dark skin tone');
    const dark = await studio.runToEnd();
    assert.equal(dark.request.prompt, 'judge: dark skin tone');
    assert.ok(await brightness(studio, 4) < before - 5, 'the second four are darker');
    await studio.look('words');
  }),

  'a grid of words by guidance': withWords(['wide'], async (studio) => {
    await studio.quick({ steps: 16, count: 4 });
    await studio.option('option-seed', 1);
    await studio.press('#xy-form summary');
    await studio.page.locator('#xy-x').selectOption('cfg_scale');
    await studio.frame();
    const type = async (field, words) => {
      await studio.press(field);
      await studio.page.keyboard.press('Control+a');
      await studio.page.keyboard.type(words);
    };
    await type('#xy-x-cfg_scale', '1, 2, 4');
    await studio.page.locator('#xy-y').selectOption('prompt');
    await studio.frame();
    await type('#xy-y-prompt', 'judge: light skin tone\nfarmer: dark skin tone');
    await studio.press('[data-key="xy-make"]');
    await studio.until(({ xy, live }) => xy?.cells.every(({ entry }) => entry) && !live, null, 600_000);
    const asked = await studio.state(({ xy }) => xy.cells.map(({ request, entry }) => [request.cfg_scale, request.prompt, request.seed, entry.effective.condition.cfg_scale]));
    assert.deepEqual(asked, ['judge: light skin tone', 'farmer: dark skin tone'].flatMap((words) => [1, 2, 4].map((scale) => [scale, words, 1, scale])));
    await studio.look('grid');
  }),

  'words change a painted part of a picture, the rest stays': withWords(['wide'], async (studio) => {
    await studio.open('emoji_u1f468_1f3ff_200d_1f33e.png');
    await studio.task('Change');
    await studio.tool('rectangle');
    await studio.drag([[0, 2], [4, 13]]);
    const mask = new Set(await studio.mask());
    const before = await studio.state(({ edit }) => [...edit.doc.tokens]);
    await studio.option('option-prompt', 'man police officer: dark skin tone');
    await studio.quick({ steps: 50, count: 4 });
    const job = await studio.runToEnd();
    assert.equal(job.request.prompt, 'man police officer: dark skin tone');
    for (const { tokens } of job.results) tokens.forEach((token, cell) => mask.has(cell) || assert.equal(token, before[cell], `cell ${cell} stays`));
    await studio.look('words-changed');
  }),
};

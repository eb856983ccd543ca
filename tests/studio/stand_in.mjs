/** Cases against the stand-in server: a fresh page and server for each size, and what several of them look at. */
import { join } from 'node:path';
import { startMock } from './mock_server.mjs';
import { source } from './options.mjs';
import { openStudio } from './studio.mjs';

export const root = join(source, 'src/server/studio');
export const kEvery = ['small', 'phone', 'tablet', 'wide', 'large'];
export const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A case on a fresh page for each size; the stand-in makes these troubles. options: of the page */
export const at = (sizes, body, troubles = {}, options = {}) => async ({ browser, screenshots }) => {
  for (const size of sizes) {
    const mock = await startMock({ root, troubles: { ...troubles } });
    const studio = await openStudio(browser, mock.url, { size, screenshots, expectErrors: Object.keys(troubles).length > 0, ...options });
    await body(studio, { mock, size });
    await studio.close();
    await mock.stop();
  }
};
export const every = (body, troubles) => at(kEvery, body, troubles);

export const why = (studio) => studio.page.locator('#run-why').innerText();
export const seeds = (studio) => studio.state(({ job }) => job.results.map(({ tokens }) => [...tokens].join()));

/** A picture made in the page: bands of colour, or one plain colour, so that every pixel can be foretold. Dropped as a file is. */
export const dropPhotograph = (studio, width, height, name = 'photograph', plain = '') => studio.page.evaluate(async ([w, h, called, one]) => {
  const canvas = Object.assign(document.createElement('canvas'), { width: w, height: h });
  const context = canvas.getContext('2d');
  for (let k = 0; k < 16; k++) {
    context.fillStyle = one || `hsl(${k * 22} 70% 55%)`;
    context.fillRect((k * w) / 16, 0, w / 16 + 1, h);
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const data = new DataTransfer();
  data.items.add(new File([blob], `${called}.png`, { type: 'image/png' }));
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
}, [width, height, name, plain]);

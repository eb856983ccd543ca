/** The studio in a browser, with the words the tests use: open, task, paint, run, choose, look. */
import { readFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { strict as assert } from 'node:assert';
import { here, kChromium, source } from './options.mjs';

const { chromium } = await import('playwright-core');
const axeSource = await readFile(join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');

export const examples = join(source, 'models/emoji64/examples');
export const sizes = { wide: { width: 1280, height: 800 }, phone: { width: 400, height: 800 } };
const kPatience = 180_000; // ms for one job on a slow, shared processor

export const launch = () => chromium.launch({
  executablePath: kChromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A fresh page. Whatever it logs as an error, and whatever it asks of another origin, is a failure at close(). */
export async function openStudio(browser, url, { size = 'wide', dark = false, touch = false, screenshots = '', fragment = '', expectErrors = false } = {}) {
  const context = await browser.newContext({ viewport: sizes[size], colorScheme: dark ? 'dark' : 'light', hasTouch: touch, acceptDownloads: true, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('console', (message) => { if (message.type() === 'error' && !expectErrors) faults.push(message.text()); });
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== new URL(url).origin) faults.push(`the page asked for ${request.url()}`);
  });
  await page.goto(url + fragment);
  await page.waitForFunction(() => document.querySelector('#model').options.length > 0);
  return new Studio(page, context, faults, { size, screenshots, dark });
}

export class Studio {
  constructor(page, context, faults, options) {
    Object.assign(this, { page, context, faults, options, seen: [] });
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.faults, [], 'the page logged errors');
  }

  /** The page's state: picked values of the store, in the page. */
  async state(read, argument) {
    const handle = await this.page.evaluateHandle(async () => (await import(new URL('studio/store.js', document.baseURI))).store.get());
    const value = await handle.evaluate(read, argument);
    await handle.dispose();
    return value;
  }

  /** Waits until the state is so. */
  async until(read, argument, timeout = 30_000) {
    const last = Date.now() + timeout;
    while (!(await this.state(read, argument))) {
      assert.ok(Date.now() < last, `after ${timeout / 1000} s still not: ${read}`);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  }

  /** Sets parts of the state: what a test starts from, not what it tests. */
  set(patch) {
    return this.page.evaluate(async (values) => {
      const { store } = await import(new URL('studio/store.js', document.baseURI));
      store.set(values);
    }, patch);
  }

  async open(...names) {
    await this.page.setInputFiles('#file', names.map((name) => join(examples, name)));
    await this.page.waitForFunction(() => document.querySelector('#file').value === '');
    await this.settled();
    await this.page.evaluate(() => document.querySelectorAll('.toast [aria-label="Dismiss"]').forEach((button) => button.click()));
  }

  /** Codes of the picture are there. */
  async settled() {
    await this.until(({ edit }) => !edit.doc || edit.doc.tokens !== null);
  }

  async task(name) {
    await this.page.locator('#tasks button', { hasText: name }).click();
  }

  tool(key) {
    return this.page.locator(`#tools [data-key="${key}"]`).click();
  }

  /** Position in the window of the middle of a cell. */
  place(y, x) {
    return this.page.evaluate(async ([row, column]) => {
      const stage = await import(new URL('studio/stage.js', document.baseURI));
      const box = document.getElementById('stage').getBoundingClientRect();
      const at = stage.placeOf({ y: row, x: column });
      return { x: box.left + at.x, y: box.top + at.y };
    }, [y, x]);
  }

  /** Drags over the middles of cells [[y, x], ...]. */
  async drag(cells, { hold = [] } = {}) {
    const points = [];
    for (const [y, x] of cells) points.push(await this.place(y, x));
    for (const key of hold) await this.page.keyboard.down(key);
    await this.page.mouse.move(points[0].x, points[0].y);
    await this.page.mouse.down();
    for (const point of points.slice(1)) await this.page.mouse.move(point.x, point.y, { steps: 6 });
    await this.page.mouse.up();
    for (const key of hold) await this.page.keyboard.up(key);
    await this.frame();
  }

  async option(id, value) {
    const field = this.page.locator(`#${id}`);
    if (!(await field.isVisible()) && id.startsWith('option-')) await this.page.locator('#panel-task summary').click();
    await field.fill(String(value));
    await field.blur();
  }

  /** Few steps: the tests look at what is done with the model, not at how well it paints. */
  async quick({ steps = 16, count = null } = {}) {
    const options = await this.state((state) => state.options);
    await this.set({ options: { ...options, steps, ...(count ? { count } : {}) }, form: {} });
  }

  /** Presses the button; the job on the stage is the new one. */
  async start() {
    const before = await this.page.evaluateHandle(async () => (await import(new URL('studio/store.js', document.baseURI))).store.get().job);
    await this.page.locator('#run-bar [data-key="run"]').click();
    await this.until(({ job }, old) => job !== null && job.request !== old?.request, before);
  }

  async run() {
    await this.start();
    return this.finished();
  }

  /** The job as it ended: done, or what went wrong. */
  async finished() {
    await this.until(({ job }) => ['done', 'failed', 'cancelled'].includes(job?.phase), null, kPatience);
    await this.frame();
    return this.state(({ job }) => ({
      phase: job.phase, error: job.error, count: job.count, width: job.width, height: job.height, grid: job.grid, request: { ...job.request, image: undefined, mask: undefined },
      results: job.results.map(({ tokens, order, image }) => ({ tokens: [...tokens], order: [...order], width: image.width, height: image.height })),
    }));
  }

  async done() {
    const job = await this.finished();
    assert.equal(job.phase, 'done', job.error);
    return job;
  }

  async runToEnd() {
    const job = await this.run();
    assert.equal(job.phase, 'done', job.error);
    return job;
  }

  mask() {
    return this.state(({ edit }) => (edit.mask ? [...edit.mask.keys()].filter((index) => edit.mask[index]) : null));
  }

  /** Pixels [height][width * 3] of the picture under edit, or of result k. */
  pixels(k = null) {
    return this.state(({ edit, job }, index) => {
      const canvas = index === null ? edit.doc.image : job.results[index].image;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const rows = [];
      for (let y = 0; y < canvas.height; y++) {
        const row = [];
        for (let x = 0; x < canvas.width; x++) row.push(...data.subarray((y * canvas.width + x) * 4, (y * canvas.width + x) * 4 + 3));
        rows.push(row);
      }
      return rows;
    }, k);
  }

  frame() {
    return this.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  }

  /** One state of the page: no violation that axe knows of, no sideways scrolling; a screenshot where one is wanted. */
  async look(name) {
    await this.page.evaluate(() => document.getAnimations().forEach((animation) => animation.finish()));
    await this.frame();
    if (this.options.screenshots) {
      await mkdir(this.options.screenshots, { recursive: true });
      await this.page.screenshot({ path: join(this.options.screenshots, `${name}-${sizes[this.options.size].width}${this.options.dark ? '-dark' : ''}.png`) });
    }
    await this.page.evaluate(axeSource);
    const violations = await this.page.evaluate(async () => {
      const { violations: found } = await window.axe.run();
      return found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} (${node.failureSummary.replaceAll(/\s+/g, ' ').slice(0, 200)})`).join('; ')}`);
    });
    assert.deepEqual(violations, [], `${name}: axe`);
    const sideways = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(sideways <= 0, `${name}: the page is ${sideways} pixels wider than the window`);
    this.seen.push(name);
  }
}

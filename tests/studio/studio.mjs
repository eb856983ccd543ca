/** The studio in a browser, with the words the tests use: open, task, paint, run, choose, look. */
import { readFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { strict as assert } from 'node:assert';
import { here, kChromium, source } from './options.mjs';

const { chromium } = await import('playwright-core');
const axeSource = await readFile(join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');

export const examples = join(source, 'models/emoji64/examples');
export const sizes = {
  wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 }, small: { width: 320, height: 568 }, tablet: { width: 768, height: 1024 }, large: { width: 1920, height: 1080 },
};
const kHeld = 70; // ms between mouse down and mouse up: nobody is faster
const kPatience = 180_000; // ms for one job on a slow, shared processor

export const launch = () => chromium.launch({
  executablePath: kChromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

/** A fresh page. locale: the browser's language; before(page): what is done before it opens. Whatever it logs as an error, and whatever it asks of another origin, is a failure at close(). */
export async function openStudio(browser, url, { size = 'wide', dark = false, touch = false, screenshots = '', fragment = '', expectErrors = false, locale = 'en-US', before = null } = {}) {
  const context = await browser.newContext({ viewport: sizes[size], colorScheme: dark ? 'dark' : 'light', hasTouch: touch, acceptDownloads: true, locale, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.stack));
  page.on('console', (message) => { if (message.type() === 'error' && !expectErrors) faults.push(`${message.text()} (${message.location().url})`); });
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== new URL(url).origin) faults.push(`the page asked for ${request.url()}`);
  });
  await before?.(page);
  await page.goto(url + fragment);
  await page.waitForFunction(() => document.documentElement.dataset.ready === 'true');
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

  /** Presses and lets go as a hand does: there is time between the two, in which the page may redraw. */
  async press(target, { held = kHeld } = {}) {
    const locator = typeof target === 'string' ? this.page.locator(target) : target;
    let box = null;
    for (let attempt = 0; !box?.width && attempt < 50; attempt++) { // drawn anew between the look-up and the look: look again
      box = await locator.evaluate((element) => {
        element.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        const { x, y, width, height } = element.getBoundingClientRect();
        return { x, y, width, height };
      });
    }
    assert.ok(box.width > 0, `${target} is not to be seen`);
    await this.page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await this.page.mouse.down();
    await new Promise((resolve) => setTimeout(resolve, held));
    await this.page.mouse.up();
    await this.frame();
  }

  task(name) {
    return this.press(this.page.locator('#tasks button', { hasText: name }));
  }

  async tool(key) {
    await this.panel(null);
    await this.press(`#tools [data-key="${key}"]`);
  }

  /** A panel is to be seen (null: the whole stage is); on a phone its sheet is drawn up or down. */
  async panel(name) {
    const drawer = this.page.locator('#drawer');
    if (await drawer.isVisible() && (name === null) === (await drawer.getAttribute('aria-expanded') === 'true')) await this.press(drawer);
    if (name !== null && await this.state((state) => state.panel) !== name) await this.press(`#tab-${name}`);
  }

  /** The page as it was left is there again. */
  async reload() {
    await this.page.reload();
    await this.page.waitForFunction(() => document.documentElement.dataset.ready === 'true');
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

  /** Drags the handle of a side of the canvas by so many cells. held(): called before it is let go. */
  async dragSide(side, cells, held = null) {
    const [from, to] = await this.page.evaluate(async ([name, count]) => {
      const [stage, { store }, { layoutOf }] = await Promise.all(['stage', 'store', 'tasks/layout'].map((module) => import(new URL(`studio/${module}.js`, document.baseURI))));
      const { width, height } = layoutOf(store.get().edit);
      const scale = stage.currentScale();
      const box = document.getElementById('stage').getBoundingClientRect();
      const zero = stage.placeOf({ x: -0.5, y: -0.5 });
      const [dx, dy] = { left: [-1, 0], right: [1, 0], top: [0, -1], bottom: [0, 1] }[name];
      const at = { x: box.left + zero.x + (width * scale * (1 + dx)) / 2 + 15 * dx, y: box.top + zero.y + (height * scale * (1 + dy)) / 2 + 15 * dy };
      const pixels = count * stage.currentScene().grid.factor * scale;
      return [at, { x: at.x + dx * pixels, y: at.y + dy * pixels }];
    }, [side, cells]);
    await this.page.mouse.move(from.x, from.y);
    await this.page.mouse.down();
    await new Promise((resolve) => setTimeout(resolve, kHeld));
    await this.page.mouse.move(to.x, to.y, { steps: 8 });
    await this.frame();
    await held?.();
    await this.page.mouse.up();
    await this.frame();
  }

  /** What lies on the canvas: its size, and of each piece the part of its picture and the place. */
  canvas() {
    return this.page.evaluate(async () => {
      const [{ store }, { layoutOf }] = await Promise.all(['store', 'tasks/layout'].map((module) => import(new URL(`studio/${module}.js`, document.baseURI))));
      const { width, height, pieces } = layoutOf(store.get().edit);
      return { size: [width, height], pieces: pieces.map(({ from, to }) => [from, to]) };
    });
  }

  /** Sets a field as one does: a number or words are typed, and the cursor stays in the field. done: the field is left by Tab. */
  async option(id, value, { done = false } = {}) {
    await this.panel('task');
    const field = this.page.locator(`#${id}`);
    if (!(await field.isVisible()) && id.startsWith('option-')) await this.press('#more-options summary');
    if (await field.getAttribute('type') === 'range') await field.fill(String(value));
    else {
      await this.press(field);
      await this.page.keyboard.press('Control+a');
      await this.page.keyboard.type(String(value));
    }
    if (done) await this.page.keyboard.press('Tab');
  }

  /** Few steps: the tests look at what is done with the model, not at how well it paints. */
  async quick({ steps = 16, count = null } = {}) {
    const options = await this.state((state) => state.options);
    await this.set({ options: { ...options, steps, ...(count ? { count } : {}) }, form: {} });
  }

  /** Presses the button; the job on the stage is the new one, or has ended already. */
  async start() {
    const before = await this.page.evaluateHandle(async () => (await import(new URL('studio/store.js', document.baseURI))).store.get());
    await this.press('#run-bar [data-key="run"]');
    await this.until(({ job, ended }, old) => (job !== null && job.request !== old.job?.request) || (ended !== null && ended !== old.ended), before);
  }

  async run() {
    await this.start();
    return this.finished();
  }

  /** The job as it ended: done, or what went wrong. */
  async finished() {
    await this.until(({ ended }) => ended !== null, null, kPatience);
    await this.frame();
    return this.state(({ job: shown, ended }) => {
      const job = ended.phase === 'done' ? shown : { results: [], request: ended.request };
      return {
        phase: ended.phase, error: ended.error, count: job.count, width: job.width, height: job.height, grid: job.grid, effective: job.last?.effective ?? null,
        request: { ...job.request, image: undefined, mask: undefined },
        results: job.results.map(({ tokens, order, image }) => ({ tokens: [...tokens], order: [...order], width: image.width, height: image.height })),
      };
    });
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
    await this.fits(name);
    this.seen.push(name);
  }

  /** Nothing reaches beyond the window, and the bars do not lie over each other. */
  async fits(name) {
    const sideways = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(sideways <= 0, `${name}: the page is ${sideways} pixels wider than the window`);
    const troubles = await this.page.evaluate(() => {
      const seen = ['.bar', '.tools', '.stage-frame', '.view-bar', '#dock', '.side', '.rail'].map((part) => [part, document.querySelector(part)])
        .filter(([, element]) => element.checkVisibility()).map(([part, element]) => [part, element.getBoundingClientRect()]);
      const out = seen.filter(([, box]) => box.left < -0.5 || box.top < -0.5 || box.right > innerWidth + 0.5 || box.bottom > innerHeight + 0.5).map(([part]) => `${part} reaches beyond the window`);
      for (const [part, a] of seen) for (const [other, b] of seen) {
        if (part < other && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) out.push(`${part} lies over ${other}`);
      }
      const clipped = [...document.querySelectorAll('.bar, .view-bar, .run-bar, .tool-end, .rail button, .side-head')].filter((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 1);
      for (const element of clipped) out.push(`${element.className || element.innerText} holds more than it shows: ${element.scrollWidth} of ${element.clientWidth}`);
      const toast = document.querySelector('.toast')?.getBoundingClientRect();
      for (const part of ['.tools', '.view-bar', '.run-bar']) {
        const box = document.querySelector(part).getBoundingClientRect();
        if (toast && box.width && Math.min(toast.bottom, box.bottom) - Math.max(toast.top, box.top) > 1 && Math.min(toast.right, box.right) - Math.max(toast.left, box.left) > 1) out.push(`a note lies over ${part}`);
      }
      return out;
    });
    assert.deepEqual(troubles, [], `${name}: at ${sizes[this.options.size].width} pixels`);
  }
}

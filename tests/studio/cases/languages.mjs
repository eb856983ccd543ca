/** The page in its languages: every string comes from the table, no table lacks one, and from right to left the layout is mirrored. */
import { strict as assert } from 'node:assert';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startMock } from '../mock_server.mjs';
import { root, wait } from '../stand_in.mjs';
import { openStudio } from '../studio.mjs';

const kOpen = '⟦';
const kClose = '⟧';
const tableOf = async (name) => (await import(pathToFileURL(join(root, 'strings', name)))).default;

/** Every string of the modules and of the document. */
async function stringsOfPage() {
  const found = new Set();
  for (const file of await readdir(root, { recursive: true })) {
    const text = await readFile(join(root, file), 'utf8').catch(() => ''); // a folder
    if (file.endsWith('.js') && !file.startsWith('strings')) for (const [, words] of text.matchAll(/(?<![\w.$])t\('((?:[^'\\]|\\.)*)'/g)) found.add(JSON.parse(`"${words.replaceAll("\\'", "'").replaceAll('"', '\\"')}"`));
    if (file !== 'index.html') continue;
    const body = text.slice(text.indexOf('<body>'));
    for (const [, attribute, between] of body.matchAll(/(?:aria-label|title|aria-roledescription)="([^"]+)"|>\s*([^<>\n]*[A-Za-z]{2,}[^<>\n]*?)\s*</g)) if ((attribute ?? between) !== 'Tessera') found.add(attribute ?? between);
  }
  return found;
}

const marks = (words) => [...new Set(words.match(/\{\w+\}/g) ?? [])].sort().join(' ');

/** A page in which whatever comes from the table stands in brackets. */
const bracketed = (page) => page.route('**/strings/de.js', (route) => route.fulfill({
  contentType: 'text/javascript', body: `export default new Proxy({}, { get: (_, words) => (typeof words === 'string' && words !== 'then' ? '${kOpen}' + words + '${kClose}' : undefined) });`,
}));

/** What can be read or is spoken and does not come from the table. */
const strangers = (studio) => studio.page.evaluate(([open, close]) => {
  const out = new Set();
  const plain = (words) => {
    let left = words;
    for (let before = ''; before !== left;) [before, left] = [left, left.replace(new RegExp(`${open}[^${open}${close}]*${close}`, 'g'), '')];
    return left;
  };
  // Not the page's words: names of models, of files and of keys, what somebody wrote, what the server says.
  const foreign = '[translate="no"], script, #model, .example, .card-facts dd, kbd, [dir="auto"], .facts[dir="auto"], select[id$="sampler"], .code-board';
  const look = (words, element) => { if (!element.closest(foreign) && /[A-Za-z]{3,}/.test(plain(words))) out.add(`${element.tagName.toLowerCase()}: ${words.slice(0, 80)}`); };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) look(walker.currentNode.data, walker.currentNode.parentElement);
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder], [aria-valuetext]')) for (const name of ['aria-label', 'title', 'placeholder', 'aria-valuetext']) if (element.hasAttribute(name)) look(element.getAttribute(name), element);
  return [...out];
}, [kOpen, kClose]);

const on = (size, options, body) => async ({ browser, screenshots }) => {
  const { troubles = {}, ...rest } = options;
  const mock = await startMock({ root, troubles });
  const studio = await openStudio(browser, mock.url, { size, screenshots, ...rest });
  await body(studio, { mock, size });
  await studio.close();
  await mock.stop();
};

/** One walk through the page: what is looked at is held to axe's rules and to the window. */
async function walk(studio, name) {
  const { page } = studio;
  await page.waitForSelector('#empty .example img');
  await studio.look(`${name}-start`);
  await studio.panel('task');
  for (const part of ['#more-options', '#xy-form', '#presets']) await studio.press(`${part} summary`);
  await studio.look(`${name}-options`);
  await studio.panel(null);
  await studio.quick({ steps: 4, count: 4 });
  await studio.run();
  await studio.look(`${name}-results`);
  await studio.press(page.locator('#sheet button').first());
  await studio.press('#tasks li:nth-child(2) button');
  await studio.drag([[4, 4], [6, 9]]);
  await studio.look(`${name}-painted`);
  await studio.tool('codes');
  await studio.panel('cell');
  await page.waitForSelector('.code-board');
  await studio.look(`${name}-codes`);
  await studio.panel(null);
  await studio.press('#tasks li:nth-child(4) button');
  await studio.panel('task');
  await studio.look(`${name}-extend`);
  await studio.panel('history');
  await studio.look(`${name}-history`);
  await studio.panel(null);
}

const inLanguage = (locale) => async (surroundings) => {
  for (const size of ['small', 'phone', 'tablet', 'wide', 'large']) {
    await on(size, { locale, troubles: { condition: 'text' } }, async (studio) => {
      assert.deepEqual(await studio.page.evaluate(() => [document.documentElement.lang, document.documentElement.dir]), [locale, locale === 'ar' ? 'rtl' : 'ltr']);
      await walk(studio, `in-${locale}`);
      if (size !== 'wide') return;
      // Mirrored: the tasks are where reading begins, the options where it ends; the picture is not.
      const [rail, side] = await Promise.all(['.rail', '.side'].map((part) => studio.page.locator(part).boundingBox()));
      assert.equal(rail.x > side.x, locale === 'ar');
      const [first, second] = [await studio.place(0, 0), await studio.place(0, 1)];
      assert.ok(second.x > first.x, 'columns of cells go from left to right');
      await studio.page.keyboard.press('?');
      await studio.look(`in-${locale}-keys`);
    })(surroundings);
  }
};

export default {
  'no table lacks a string, has one too many, or drops a value': async () => {
    const wanted = await stringsOfPage();
    assert.ok(wanted.size > 400, `${wanted.size}`);
    for (const file of await readdir(join(root, 'strings'))) {
      const table = await tableOf(file);
      if (file !== 'en.js') assert.deepEqual([...wanted].filter((words) => !Object.hasOwn(table, words)), [], `${file} lacks`);
      assert.deepEqual(Object.keys(table).filter((words) => !wanted.has(words)), [], `${file} has what the page does not say`);
      const kinds = new Intl.PluralRules(file.slice(0, -3)).resolvedOptions().pluralCategories;
      for (const [words, entry] of Object.entries(table)) {
        if (typeof entry === 'string') assert.equal(marks(entry), marks(words), `${file}: ${words}`);
        else {
          assert.deepEqual(kinds.filter((kind) => !entry[kind]), [], `${file}: plural forms of ${words}`);
          assert.equal(marks(entry.other), marks(words), `${file}: ${words}`);
        }
      }
    }
  },

  'whatever the page says comes from the table': on('wide', { locale: 'de', before: bracketed, troubles: { condition: 'text', models: ['mock', 'second'] } }, async (studio) => {
    const seen = async (where) => assert.deepEqual(await strangers(studio), [], where);
    const { page } = studio;
    await page.waitForSelector('#empty .chip');
    await seen('start');
    for (const part of ['#more-options', '#xy-form', '#presets']) await studio.press(`${part} summary`);
    await seen('options');
    await studio.quick({ steps: 4, count: 4 });
    await studio.run();
    await seen('results');
    await studio.press(page.locator('#sheet button').first());
    await seen('one result');
    for (let k = 2; k <= 6; k++) {
      await studio.press(`#tasks li:nth-child(${k}) button`);
      await studio.frame();
      await seen(`task ${k}`);
    }
    await studio.press('#tasks li:nth-child(2) button');
    await seen('change');
    await studio.drag([[4, 4], [6, 9]]);
    await page.keyboard.press('k');
    await page.waitForSelector('.code-board');
    await seen('codes');
    await page.keyboard.press('i');
    const point = await studio.place(3, 3);
    await page.mouse.click(point.x, point.y);
    await page.waitForSelector('.candidates button');
    await seen('cell');
    await studio.panel('task');
    await studio.press('[data-key="xy-make"]');
    await studio.until(({ xy }) => xy?.cells.every(({ entry }) => entry), null, 90_000);
    await seen('grid');
    await page.keyboard.press('Escape');
    await studio.panel('history');
    await seen('history');
    await studio.press('[data-key="clear-history"]');
    await seen('question');
    await page.keyboard.press('Escape');
    for (const opener of ['#about', '#keys', '#language']) {
      await studio.press(opener);
      await seen(opener);
      await page.keyboard.press('Escape');
    }
  }),

  'the language is changed, and the work is kept': on('phone', { locale: 'fr-FR' }, async (studio) => {
    const { page } = studio;
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'en', 'a language that there is not');
    await studio.open('emoji_u1f9d0.png');
    await studio.drag([[4, 4], [4, 9]]);
    const mask = await studio.mask();
    await studio.press('#language');
    await studio.look('languages');
    await page.locator('[data-key="language-ar"]').click(); // the page goes away under it
    await page.waitForFunction(() => document.documentElement.lang === 'ar' && document.documentElement.dataset.ready === 'true');
    assert.deepEqual(await studio.mask(), mask);
    assert.match(await page.locator('#run-why').innerText(), /خلية/);
    await wait(100);
    await page.reload();
    await page.waitForFunction(() => document.documentElement.dataset.ready === 'true');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'ar', 'the choice is kept');
  }),

  'the page in German': inLanguage('de'),
  'the page in Arabic, from right to left': inLanguage('ar'),
};

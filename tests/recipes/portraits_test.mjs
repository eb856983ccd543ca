#!/usr/bin/env node
/**
 * recipes/portraits: what is said was drawn, what is held out stays out of `train`, the same seed gives the same bytes. --only WORDS takes
 * the cases whose name holds the words; --program FILE is the built program. Ends with 77 where the recipe's node_modules are absent.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const recipe = fileURLToPath(new URL('../../recipes/portraits/', import.meta.url));
if (!existsSync(join(recipe, 'node_modules/@resvg/resvg-js'))) {
  console.log('skipped: recipes/portraits/node_modules is not there: run `npm ci` in recipes/portraits');
  process.exit(77);
}
const { values: options } = parseArgs({ options: { only: { type: 'string', default: '' }, program: { type: 'string', default: '' } } });
const { backgroundColours, clothesColours, hairColours, skinColours } = await import(join(recipe, 'colours.mjs'));
const { attributes, attributesOf, choose, draw } = await import(join(recipe, 'portrait.mjs'));
const { drawPixels, pixelsOf, record } = await import(join(recipe, 'render.mjs'));
const { heldOutCombinations } = await import(join(recipe, 'split.mjs'));
const { stream } = await import(join(recipe, 'random.mjs'));
const { styles } = await import(join(recipe, 'styles.mjs'));
const { ZipWriter } = await import(join(recipe, 'zip.mjs'));
const names = Object.keys(styles);
const make = (...words) => spawnSync(process.execPath, [join(recipe, 'make.mjs'), ...words], { encoding: 'utf8' });

const rgb = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));
/** How many pixels differ from a colour by at most `most` in every channel. */
function pixelsNear(pixels, hex, most) {
  const colour = rgb(hex);
  let near = 0;
  for (let at = 0; at < pixels.length; at += 4) near += colour.every((level, k) => Math.abs(pixels[at + k] - level) <= most);
  return near;
}
/** How many pixels of two pictures differ by more than 24 of 255 levels in a channel: what an eye takes for a difference. */
function pixelsApart(a, b) {
  let apart = 0;
  for (let at = 0; at < a.length; at += 4) apart += [0, 1, 2].some((k) => Math.abs(a[at + k] - b[at + k]) > 24);
  return apart;
}
const records = (count, seed = 0) => Array.from({ length: count }, (_, number) => record(seed, number, names).line);
const has = (line, combination) => Object.entries(combination).every(([name, word]) => line[name] === word);

/** Runs a body with a folder of its own. */
function inFolder(body) {
  const folder = mkdtempSync(join(tmpdir(), 'portraits-'));
  try {
    body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
const quiet = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
const digest = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

const cases = {
  'captions: every attribute that was drawn is named, and nothing else'() {
    for (const line of records(3000)) {
      const words = attributes.filter((name) => name !== 'style' && !['none', 'hidden'].includes(line[name]));
      for (const name of words) assert.ok(line.text.includes(line[name]), `${line.file_name}: ${name} ${line[name]} is not in '${line.text}'`);
      assert.ok(line.text.startsWith(`${styles[line.style].name} portrait, `), line.text);
      assert.deepEqual(line.text.split(', ').sort(), [...line.keywords].sort());
      assert.ok(line.text.split(' ').length <= 40, line.text);
      // A colour and what has it are one phrase.
      const coloured = words.filter((name) => ['hair', 'hat', 'beard', 'clothes'].includes(name) && line[name] !== 'bald head');
      for (const name of coloured) assert.ok(line.keywords.includes(`${line[name === 'beard' ? 'hair_color' : `${name}_color`]} ${line[name]}`), `${name} in ${line.text}`);
      assert.equal(line.keywords.length, 1 + words.filter((name) => !name.endsWith('_color')).length, line.text);
    }
  },

  'captions: half of them keep the usual order'() {
    const lines = records(3000);
    const usual = lines.filter((line) => line.text === line.keywords.join(', ')).length;
    // Binomial(3000, 1/2) has a deviation of 27; a shuffle that changes nothing is rare.
    assert.ok(Math.abs(usual - 1500) < 5 * 27, `${usual} of 3000`);
  },

  'captions: the words are read back from what DiceBear says it drew'() {
    const chosen = choose(stream(0, 'any'), styles.avataaars);
    const wanted = { hair: 'bob', eyes: 'heart', mouth: 'tongue out', beard: 'moustache', glasses: 'round glasses', clothes: 'hoodie' };
    for (const [part, word] of Object.entries(wanted)) chosen.parts[part] = styles.avataaars.parts[part].find((choice) => choice.say[part] === word);
    chosen.colours = { hair: 'red', hat: 'blue', clothes: 'green', skin: 'tan', background: 'lavender' };
    const { drawn } = draw(styles.avataaars, chosen);
    assert.deepEqual([drawn.top, drawn.eyes, drawn.mouth, drawn.facialHair, drawn.accessories, drawn.clothing], ['bob', 'hearts', 'tongue', 'moustacheFancy', 'round', 'hoodie']);
    const said = attributesOf(styles.avataaars, drawn);
    const all = { style: 'avataaars', ...wanted, hair_color: 'red', hat: 'none', hat_color: 'none', cheeks: 'none', clothes_color: 'green', skin: 'tan', background: 'lavender' };
    assert.deepEqual(said, Object.fromEntries(attributes.map((name) => [name, all[name]])));
    assert.throws(() => attributesOf(styles.avataaars, { ...drawn, mouth: 'vomit' }), /avataaars mouth: no choice draws/);
    assert.throws(() => attributesOf(styles.avataaars, { ...drawn, hairColor: '#123456' }), /avataaars hair '#123456': expected one of #/);
  },

  'captions: what is hidden is not named'() {
    const lines = records(6000);
    const covered = { 'sunglasses over eyes': { glasses: 'sunglasses', eyes: 'hidden' }, 'hijab over hair': { hat: 'hijab', hair: 'hidden', clothes: 'hidden', clothes_color: 'hidden' } };
    for (const [what, [[name, word], ...rest]] of Object.entries(covered).map(([what, table]) => [what, Object.entries(table)])) {
      const found = lines.filter((line) => line[name] === word);
      assert.ok(found.length > 10, `${what}: ${found.length} pictures`);
      for (const line of found) assert.ok(has(line, Object.fromEntries(rest)) && !line.text.includes('hidden') && !line.text.includes(' eyes') === (line.eyes === 'hidden'), line.text);
    }
  },

  'pictures: the named colours are there'() {
    for (let number = 0; number < 150; number++) {
      const { line, pixels } = drawPixels(1, number, 128, names);
      const expect = (hex, most, least, what) => assert.ok(pixelsNear(pixels, hex, most) >= least, `${line.text}: ${what}`);
      assert.deepEqual([...pixels.subarray(0, 3)], rgb(backgroundColours[line.background]), `${line.text}: background`);
      expect(skinColours[line.skin], 24, 300, 'skin'); // thin veils and shades lie over it
      if (!['none', 'hidden', 'bald head'].includes(line.hair)) expect(hairColours[line.hair_color], 24, 60, 'hair');
      if (!['none', 'hidden'].includes(line.clothes)) expect(clothesColours[line.clothes_color], 40, 20, 'clothes');
      if (line.style === 'avataaars' && line.hat !== 'none') expect(clothesColours[line.hat_color], 8, 100, 'hat');
    }
  },

  'pictures: no two choices of a part look alike'() {
    for (const style of Object.values(styles))
      for (const skin of style.skins) {
        const first = Object.fromEntries(Object.entries(style.parts).map(([part, list]) => [part, list[0]]));
        const colours = { hair: 'blond', hat: 'blue', clothes: 'blue', skin, background: 'lavender' };
        for (const [part, list] of Object.entries(style.parts)) {
          assert.equal(new Set(list.map(({ say }) => JSON.stringify(say))).size, list.length, `${style.package} ${part}: two choices say the same`);
          const pictures = list.map((choice) => pixelsOf(draw(style, { parts: { ...first, [part]: choice }, colours }).svg, 128));
          for (let i = 0; i < list.length; i++)
            for (let j = 0; j < i; j++) {
              const apart = pixelsApart(pictures[i], pictures[j]);
              assert.ok(apart >= 20, `${style.package}, ${skin} skin: ${JSON.stringify(list[i].say)} and ${JSON.stringify(list[j].say)} differ in ${apart} pixels`);
            }
        }
      }
  },

  'splits: held-out combinations are never in train, their attributes are'() {
    const lines = records(12000);
    const train = lines.filter((line) => line.split === 'train');
    assert.deepEqual([...new Set(lines.map((line) => line.split))].sort(), ['combination-heldout', 'held-out', 'train']);
    for (const combination of heldOutCombinations) {
      const what = JSON.stringify(combination);
      const found = lines.filter((line) => has(line, combination));
      assert.ok(found.length >= 5, `${what}: ${found.length} pictures`);
      for (const line of found) assert.equal(line.split, 'combination-heldout', `${what}: ${line.text}`);
      // All attributes but one do occur together, within the style where one is named.
      for (const [name, word] of Object.entries(combination)) {
        const alone = { ...(combination.style ? { style: combination.style } : {}), [name]: word };
        const seen = train.filter((line) => has(line, alone)).length;
        assert.ok(seen >= 20, `${JSON.stringify(alone)}: ${seen} pictures in train`);
      }
    }
    for (const line of lines) assert.equal(heldOutCombinations.some((combination) => has(line, combination)), line.split === 'combination-heldout', line.text);
    const drawnOut = lines.filter((line) => line.split === 'held-out').length;
    const rest = drawnOut + train.length;
    assert.ok(Math.abs(drawnOut - 0.03 * rest) < 5 * Math.sqrt(0.03 * 0.97 * rest), `${drawnOut} of ${rest} are held out`);
  },

  'splits: what is held out is not in train under another number or seed'() {
    const shown = (line) => attributes.map((name) => line[name]).join('|');
    const lines = [...records(12000), ...records(12000, 1)];
    const trained = lines.filter((line) => line.split === 'train').map(shown);
    const train = new Set(trained);
    const out = lines.filter((line) => line.split !== 'train');
    assert.ok(trained.length - train.size > 100, 'some portraits are drawn twice');
    for (const line of out) assert.ok(!train.has(shown(line)), line.text);
  },

  'bytes: the same seed gives the same zip with one thread and with three'() {
    inFolder((folder) => {
      const at = (name) => join(folder, name);
      for (const [name, ...words] of [['one', '--jobs', '1'], ['three', '--jobs', '3'], ['other', '--seed', '1']]) {
        const { status, stderr } = make('--count', '200', '--size', '48', '--out', at(`${name}.zip`), ...words);
        assert.equal(status, 0, stderr);
      }
      assert.equal(digest(at('one.zip')), digest(at('three.zip')));
      assert.notEqual(digest(at('one.zip')), digest(at('other.zip')));
      assert.deepEqual(readdirSync(folder).sort(), ['one.zip', 'other.zip', 'three.zip'], 'nothing is left aside');
    });
  },

  'bytes: a longer set begins with the shorter one'() {
    const longer = records(60);
    assert.deepEqual(records(40), longer.slice(0, 40));
    assert.notDeepEqual(records(40, 1), longer.slice(0, 40));
  },

  'bytes: the zip is a data set of the program'() {
    if (!options.program) return;
    inFolder((folder) => {
      const file = join(folder, 'set.zip');
      assert.equal(make('--count', '70', '--size', '64', '--styles', 'dylan,personas', '--out', file).status, 0);
      const said = execFileSync(options.program, ['dataset', 'info', '--no-cache', '--data', file, '--size', '64'], quiet);
      const trained = execFileSync(options.program, ['dataset', 'info', '--no-cache', '--data', file, '--size', '64', '--where', 'split=train'], quiet);
      const lines = Array.from({ length: 70 }, (_, number) => record(0, number, ['dylan', 'personas']).line);
      assert.match(trained, new RegExp(`^images +${lines.filter((line) => line.split === 'train').length}$`, 'm'));
      assert.match(said, /^images +70$/m);
      assert.match(said, /^captions +70$/m);
      assert.match(said, /^skipped +1$/m); // LICENSES is no picture
      // Stored files: the text lies in the zip as it is.
      const bytes = readFileSync(file, 'latin1');
      assert.match(bytes, /dylan: \d+ pictures, CC-BY-4\.0 \(https:\/\/creativecommons\.org\/licenses\/by\/4\.0\/\)\n    "Dylan! The Avatar Generator" by Natalia Spivak/);
      assert.ok(!bytes.includes('Pablo Stanley'), 'only the styles that were drawn are licensed');
    });
  },

  // APPNOTE.TXT of zip, 4.3.14 to 4.3.16. 65,600 pictures are drawn in minutes, so only their list is looked at here.
  'bytes: more files than 16 bits count have the zip64 records'() {
    inFolder((folder) => {
      const zip = new ZipWriter(join(folder, 'many.zip'));
      for (let number = 0; number < 65600; number++) zip.add(`${number}`, 'x');
      zip.finish();
      const bytes = readFileSync(zip.path);
      const [end, locator] = [bytes.length - 22, bytes.length - 42];
      assert.deepEqual([bytes.readUInt32LE(end), bytes.readUInt16LE(end + 8), bytes.readUInt16LE(end + 10)], [0x06054b50, 0xffff, 0xffff]);
      assert.equal(bytes.readUInt32LE(locator), 0x07064b50);
      const record = Number(bytes.readBigUInt64LE(locator + 8));
      assert.deepEqual([bytes.readUInt32LE(record), bytes.readBigUInt64LE(record + 24), bytes.readBigUInt64LE(record + 32)], [0x06064b50, 65600n, 65600n]);
      const [size, start] = [Number(bytes.readBigUInt64LE(record + 40)), Number(bytes.readBigUInt64LE(record + 48))];
      assert.equal(start + size, record);
      let [at, count] = [start, 0];
      for (; at < record; at += 46 + bytes.readUInt16LE(at + 28), count++) {
        const local = bytes.readUInt32LE(at + 42);
        assert.equal(bytes.readUInt32LE(at), 0x02014b50);
        assert.equal(bytes.readUInt32LE(local), 0x04034b50);
        assert.equal(bytes.toString('latin1', local + 30, local + 30 + bytes.readUInt16LE(local + 26)), `${count}`);
      }
      assert.deepEqual([at, count], [record, 65600]);
    });
  },

  'errors: a wrong option is named with what was expected'() {
    const says = (expected, ...words) => {
      const { status, stderr } = make(...words);
      assert.equal(status, 1);
      assert.match(stderr, expected);
      assert.equal(stderr.trim().split('\n').length, 1, stderr);
    };
    says(/--styles cubist: expected some of avataaars, personas/, '--styles', 'dylan,cubist');
    says(/--count many: expected a whole number from 1 to 999999/, '--count', 'many');
    says(/--size 8: expected a whole number from 16 to 1024/, '--size', '8');
    says(/no such file or directory.*nowhere/, '--count', '1', '--out', '/nowhere/at/all.zip');
    says(/--colour/, '--colour', 'red');
  },
};

const chosen = Object.entries(cases).filter(([name]) => name.includes(options.only));
if (!chosen.length) throw new Error(`--only ${options.only}: expected part of one of\n  ${Object.keys(cases).join('\n  ')}`);
let failed = 0;
for (const [name, body] of chosen) {
  const start = Date.now();
  try {
    body();
    console.log(`ok    ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
}
console.log(failed ? `${failed} of ${chosen.length} failed` : `${chosen.length} passed`);
process.exit(failed ? 1 : 0);

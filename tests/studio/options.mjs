/** What the runner is told: --program FILE --model DIR --screenshots DIR --only WORDS --dark. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

export const here = fileURLToPath(new URL('.', import.meta.url));
export const source = join(here, '..', '..');

const known = { program: join(source, 'build/release/bin/tessera'), model: join(source, 'models/emoji64'), screenshots: '', only: '' };

export function parseOptions(words) {
  const options = { ...known };
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i].replace(/^--/, '');
    if (!(name in known) || words[i + 1] === undefined) throw new Error(`${words[i]}: expected one of --${Object.keys(known).join(', --')}, each with a value`);
    options[name] = words[i + 1];
  }
  return options;
}

export const kChromium = '/usr/bin/chromium';

/** Why the tests cannot run here, or ''. */
export function missingHere() {
  if (!existsSync(join(here, 'node_modules/playwright-core'))) return 'tests/studio/node_modules is not there: run `npm ci` in tests/studio';
  if (!existsSync(kChromium)) return `${kChromium} is not there: scripts/install_packages packages-studio-tests.txt`;
  return '';
}

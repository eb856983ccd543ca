/** The command line of `make.mjs`: one list of options for parsing, messages and help. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { styles } from './styles.mjs';

const known = {
  count: { value: '40000', help: 'portraits' },
  size: { value: '128', help: 'pixels a side, 16 to 1024' },
  seed: { value: '0', help: 'of all choices; the same seed gives the same bytes' },
  styles: { value: Object.keys(styles).join(','), help: 'with commas between them' },
  out: { value: 'portraits.zip', help: 'the zip to write' },
  jobs: { value: String(availableParallelism()), help: 'threads that draw' },
};

export const help = () =>
  ['node make.mjs [options]: draws a captioned data set of portraits', ...Object.entries(known).map(([name, { value, help: words }]) => `  --${name.padEnd(8)}${words} (${value})`)].join('\n');

function whole(name, text, least, most) {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < least || number > most) throw new Error(`--${name} ${text}: expected a whole number from ${least} to ${most}`);
  return number;
}

export function parseOptions(words) {
  const { values } = parseArgs({ args: words, options: { help: { type: 'boolean' }, ...Object.fromEntries(Object.entries(known).map(([name, { value }]) => [name, { type: 'string', default: value }])) } });
  const names = values.styles.split(',');
  for (const name of names) if (!(name in styles)) throw new Error(`--styles ${name}: expected some of ${Object.keys(styles).join(', ')}`);
  return {
    help: values.help ?? false,
    count: whole('count', values.count, 1, 999999),
    size: whole('size', values.size, 16, 1024),
    seed: whole('seed', values.seed, 0, Number.MAX_SAFE_INTEGER),
    jobs: whole('jobs', values.jobs, 1, 256),
    styles: [...new Set(names)],
    out: values.out,
  };
}

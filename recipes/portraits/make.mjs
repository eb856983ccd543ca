#!/usr/bin/env node
/** Draws a captioned data set of portraits into a zip: PNGs, metadata.jsonl, LICENSES. `node make.mjs --help` lists the options. */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { help, parseOptions } from './options.mjs';
import { ZipWriter } from './zip.mjs';

const rangeLength = 64; // portraits that a worker draws at a time

/** Hands ranges to `jobs` workers and their answers, in order of number, to `take`. */
async function drawAll(options, take) {
  const waiting = new Map(); // first number -> answer that came before its turn
  let [next, written] = [0, 0];
  const drawWith = (worker) =>
    new Promise((done, fail) => {
      const send = () => {
        if (next >= options.count) return done();
        const first = next;
        next = Math.min(first + rangeLength, options.count);
        worker.postMessage({ first, last: next });
      };
      worker.on('error', fail);
      worker.on('message', ({ first, made }) => {
        try {
          waiting.set(first, made);
          for (let ready; (ready = waiting.get(written)); written += ready.length) {
            waiting.delete(written);
            ready.forEach(take);
          }
          send();
        } catch (error) {
          fail(error);
        }
      });
      send();
    });
  const workers = Array.from({ length: options.jobs }, () => new Worker(new URL('./worker.mjs', import.meta.url), { workerData: options }));
  try {
    await Promise.all(workers.map(drawWith));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** In a message of ours rather than of the module loader. */
async function loadLicences() {
  try {
    return (await import('./licences.mjs')).licences;
  } catch (error) {
    throw error.code === 'ERR_MODULE_NOT_FOUND' ? new Error(`${fileURLToPath(new URL('node_modules', import.meta.url))}: expected DiceBear and resvg there, run \`npm ci\` in this folder`) : error;
  }
}

async function make(options) {
  const licences = await loadLicences();
  const start = Date.now();
  const zip = new ZipWriter(options.out);
  try {
    const lines = [];
    const [splits, counts] = [{}, Object.fromEntries(options.styles.map((name) => [name, 0]))];
    await drawAll(options, ({ line, png }) => {
      zip.add(line.file_name, png);
      lines.push(`${JSON.stringify(line)}\n`);
      counts[line.style]++;
      splits[line.split] = (splits[line.split] ?? 0) + 1;
    });
    zip.add('metadata.jsonl', lines.join(''));
    zip.add('LICENSES', licences(counts));
    zip.finish();
    return { seconds: (Date.now() - start) / 1000, bytes: zip.offset, counts, splits };
  } catch (error) {
    zip.abandon();
    throw error;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options.help) {
      console.log(help());
    } else {
      const { seconds, bytes, counts, splits } = await make(options);
      console.log(`${options.out}: ${options.count} portraits, ${(bytes / 1e6).toFixed(1)} MB, ${seconds.toFixed(1)} s`);
      for (const table of [counts, splits]) console.log(Object.entries(table).map(([name, count]) => `${name} ${count}`).join(', '));
    }
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}

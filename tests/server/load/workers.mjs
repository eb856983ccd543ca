// How many small jobs a second `tessera serve` does with one worker and with several, in pairs one after the other. Prints a Markdown table.
// usage: node workers.mjs PROGRAM MODEL [WORKERS, default 2] [PAIRS, default 5] [SECONDS of each run, default 20] [CLIENTS, default 8] [STEPS, default 8]
import os from "node:os";
import { startServer } from "../start_server.mjs";

const [program, model, workers = "2", pairs = "5", seconds = "20", clients = "8", steps = "8"] = process.argv.slice(2);
if (!program || !model) {
  console.error("usage: node workers.mjs PROGRAM MODEL [WORKERS] [PAIRS] [SECONDS] [CLIENTS] [STEPS]");
  process.exit(2);
}

/// Jobs a second of clients that each ask for one picture after the other.
async function rate(count) {
  const server = await startServer(program, model, ["--workers", String(count), "-t", "1"]);
  let done = 0, stop = false, seed = 0;
  const client = async (name) => {
    while (!stop) {
      const response = await fetch(`${server.base}/v1/images/generations`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Tessera-Client": name },
        body: JSON.stringify({ prompt: "", n: 1, steps: Number(steps), seed: ++seed }),
      });
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      await response.arrayBuffer();
      ++done;
    }
  };
  const all = Array.from({ length: Number(clients) }, (_, i) => client(`client ${i}`));
  await new Promise((resolve) => setTimeout(resolve, 5000)); // models are loaded, everybody has been served
  const from = done, begin = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(seconds)));
  const found = (1000 * (done - from)) / (Date.now() - begin);
  stop = true;
  await Promise.all(all);
  await server.stop();
  return found;
}

console.log(`| pair | load before | one worker, jobs/s | ${workers} workers | ratio |\n| --- | --- | --- | --- | --- |`);
const ratios = [];
for (let pair = 1; pair <= Number(pairs); ++pair) {
  const load = os.loadavg()[0].toFixed(1);
  // Each comes first as often as second.
  const order = pair % 2 ? [1, Number(workers)] : [Number(workers), 1];
  const found = {};
  for (const count of order) found[count] = await rate(count);
  ratios.push(found[Number(workers)] / found[1]);
  console.log(`| ${pair} | ${load} | ${found[1].toFixed(2)} | ${found[Number(workers)].toFixed(2)} | ${ratios.at(-1).toFixed(2)} |`);
}
ratios.sort((a, b) => a - b);
const middle = (ratios[Math.floor((ratios.length - 1) / 2)] + ratios[Math.floor(ratios.length / 2)]) / 2;
console.log(`\nmedian ratio ${middle.toFixed(2)}, ${os.cpus().length} processors`);

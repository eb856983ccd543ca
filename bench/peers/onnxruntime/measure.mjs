// Milliseconds of the exported graphs in ONNX Runtime, as JSON {graph: median}: node measure.mjs FOLDER [threads] [repeats] [graph...]
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import ort from 'onnxruntime-node';

const [folder, threads = '2', repeats = '5', ...only] = process.argv.slice(2);
const names = only.length ? only : readdirSync(folder).filter((name) => name.endsWith('.onnx')).map((name) => name.slice(0, -5));
const input = (name) => {
  if (name.startsWith('encode')) return new ort.Tensor('float32', new Float32Array(3 * 256 * 256).fill(0.5), [1, 3, 256, 256]);
  if (name.startsWith('decode')) return new ort.Tensor('int64', new BigInt64Array(256), [1, 16, 16]);
  const batch = name.includes('batch_8') ? 8 : 1;
  return new ort.Tensor('int64', new BigInt64Array(batch * 256).fill(1024n), [batch, 256]);
};
const report = {};
for (const name of names) {
  const session = await ort.InferenceSession.create(join(folder, `${name}.onnx`), {
    executionProviders: ['cpu'], intraOpNumThreads: Number(threads), interOpNumThreads: 1, graphOptimizationLevel: 'all' });
  const feeds = { [session.inputNames[0]]: input(name) };
  await session.run(feeds);
  const times = [];
  for (let i = 0; i < Number(repeats); i += 1) {
    const begin = process.hrtime.bigint();
    await session.run(feeds);
    times.push(Number(process.hrtime.bigint() - begin) / 1e6);
  }
  times.sort((a, b) => a - b);
  report[name] = times[Math.floor(times.length / 2)];
  await session.release();
}
console.log(JSON.stringify(report));

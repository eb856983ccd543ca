/** Renders the ranges that it is sent and answers with their records and pictures. */
import { parentPort, workerData } from 'node:worker_threads';
import { render } from './render.mjs';

const { seed, size, styles } = workerData;
parentPort.on('message', ({ first, last }) => {
  const made = [];
  for (let number = first; number < last; number++) made.push(render(seed, number, size, styles));
  parentPort.postMessage({ first, made });
});

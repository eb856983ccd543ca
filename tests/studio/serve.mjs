/** Starts `tessera serve` on a free port of 127.0.0.1 and waits until it answers. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';

const kStartSeconds = 60;

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Out: {url, stop, log}. Throws with what the server said where it does not come up. */
export async function startServer({ program, model }, extra = [], wanted = 0) {
  const port = wanted || await freePort();
  const child = spawn(program, ['serve', '-m', model, '--port', String(port), ...extra], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (text) => { said += text; });
  child.stderr.on('data', (text) => { said += text; });
  const gone = new Promise((resolve) => child.on('exit', resolve));
  const url = `http://127.0.0.1:${port}/`;
  const until = Date.now() + kStartSeconds * 1000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`tessera serve ended with ${child.exitCode}: ${said}`);
    if (await fetch(`${url}healthz`).then((response) => response.ok, () => false)) break;
    if (Date.now() > until) throw new Error(`tessera serve does not answer after ${kStartSeconds} s: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return {
    url, port, log: () => said,
    /** As a crash or the system ends it: without a word. */
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    async stop() {
      child.kill('SIGTERM');
      await gone;
      return child.exitCode;
    },
  };
}

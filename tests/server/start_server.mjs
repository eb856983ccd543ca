// Starts `tessera serve` on a free port for a test and stops it again.
import { spawn } from "node:child_process";

/// program: path of tessera; model: bundle folder; flags: more of the command line. Returns {base, pid, log(), stop()}.
export async function startServer(program, model, flags = []) {
  const child = spawn(program, ["serve", "-m", model, "--port", "0", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "", log = "";
  child.stderr.on("data", (data) => (log += data));
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const base = await new Promise((resolve, reject) => {
    const patience = setTimeout(() => reject(new Error(`the server did not start: ${log}`)), 60000);
    child.stdout.on("data", (data) => {
      out += data;
      const found = out.match(/^(http:\/\/\S+?)\/\n/);
      if (!found) return;
      clearTimeout(patience);
      resolve(found[1]);
    });
    ended.then(({ code }) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
  return {
    base,
    pid: child.pid,
    log: () => log,
    ended,
    alive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      if (child.exitCode === null) child.kill("SIGTERM");
      return ended;
    },
  };
}

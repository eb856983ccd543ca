// `tessera serve` at its default limits under bodies of 31 MiB, beside small work. Prints a Markdown table; exits with 1
// where a promise is broken.
// usage: node bodies.mjs PROGRAM MODEL [SECONDS, default 60] [CLIENTS with large bodies, default 8]
import { readFileSync } from "node:fs";
import net from "node:net";
import { startServer } from "../start_server.mjs";

const [program, model, seconds = "60", clients = "8"] = process.argv.slice(2);
if (!program || !model) {
  console.error("usage: node bodies.mjs PROGRAM MODEL [SECONDS] [CLIENTS]");
  process.exit(2);
}
const server = await startServer(program, model);
const port = Number(new URL(server.base).port);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const kBody = 31 << 20, kPatience = 20000;
let broken = 0;
const rows = [];
function row(what, asked, found, kept) {
  rows.push(`| ${what} | ${asked} | ${found} | ${kept ? "kept" : "BROKEN"} |`);
  if (!kept) ++broken;
}

/// MiB of the server and of the process that decodes for it; what they share counts once.
function resident() {
  const of = (pid) => Number(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8").match(/Pss:\s+(\d+)/)?.[1] ?? 0) / 1024;
  let all = of(server.pid);
  for (const child of readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").split(" ").filter(Boolean)) {
    try { all += of(child); } catch { /* it has ended */ }
  }
  return Math.round(all);
}

/// Sends one request with its body; the status, or "closed".
function post(path, type, body) {
  return new Promise((resolve) => {
    let text = "";
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`);
      socket.write(body);
    });
    const done = () => { socket.destroy(); resolve(text.slice(9, 12) || "closed"); };
    socket.on("data", (data) => (text += data.toString("latin1").slice(0, 100)));
    socket.on("error", done);
    socket.on("close", done);
  });
}

const filled = (begin, repeated, end) => {
  const middle = Buffer.alloc(kBody - begin.length - end.length, repeated);
  return Buffer.concat([Buffer.from(begin), middle, Buffer.from(end)]);
};
const bodies = [
  ["a list of empty lists", "/api/v1/jobs", "application/json", filled("[[]", ",[]", "]")],
  ["a list of empty objects", "/api/v1/jobs", "application/json", filled("[", "{},", "{}]")],
  ["one long text", "/api/v1/jobs", "application/json", filled('{"verb":"generate","prompt":"', "x", '"}')],
  ["a picture that is none", "/api/v1/encode", "application/json", filled('{"image":"', "A", '"}')],
  ["codes", "/api/v1/decode", "application/json", filled('{"tokens":[[0', ",0", "]]}")],
  ["a form's part", "/api/v1/jobs", "multipart/form-data; boundary=b", filled('--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n', "x", "\r\n--b--\r\n")],
];

async function small() {
  const begin = Date.now();
  const response = await fetch(`${server.base}/api/v1/jobs`, { method: "POST", headers: { "X-Tessera-Client": "small" }, body: JSON.stringify({ verb: "generate", steps: 1, seed: 1 }) });
  const job = await response.json();
  if (response.status !== 202) return { status: response.status, took: Date.now() - begin };
  for (;;) {
    const state = (await (await fetch(`${server.base}/api/v1/jobs/${job.id}`)).json()).state;
    if (state !== "queued" && state !== "running") return { status: state, took: Date.now() - begin };
    if (Date.now() - begin > kPatience) {
      await (await fetch(`${server.base}/api/v1/jobs/${job.id}`, { method: "DELETE" })).text();
      return { status: `not within ${kPatience / 1000} s`, took: Date.now() - begin };
    }
    await sleep(10);
  }
}
const summary = (times) => {
  const sorted = [...times].sort((a, b) => a - b);
  return `median ${sorted[sorted.length >> 1]} ms, 99 of 100 within ${sorted[Math.floor(sorted.length * 0.99)]} ms`;
};

await small();
for (const [, path, type, body] of bodies) await post(path, type, body);
await sleep(1000);
const before = resident();
let most = before;
const watch = setInterval(() => { try { most = Math.max(most, resident()); } catch { /* it has gone */ } }, 50);

const alone = [];
for (let i = 0; i < 20; ++i) alone.push((await small()).took);

const until = Date.now() + 1000 * Number(seconds);
const statuses = {}, times = [], health = [], ends = {};
const large = [...Array(Number(clients)).keys()].map(async (client) => {
  for (let turn = client; Date.now() < until; ++turn) {
    const [, path, type, body] = bodies[turn % bodies.length];
    const status = await post(path, type, body);
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
});
while (Date.now() < until) {
  const begin = Date.now();
  await (await fetch(`${server.base}/healthz`)).text();
  health.push(Date.now() - begin);
  const { status, took } = await small();
  times.push(took);
  ends[status] = (ends[status] ?? 0) + 1;
  await sleep(100);
}
await Promise.all(large);
const counts = (of) => Object.entries(of).map(([name, n]) => `${n} x ${name}`).join(", ");
row(`${clients} clients with bodies of 31 MiB for ${seconds} s: ${bodies.map((each) => each[0]).join(", ")}`, "400 or 413, or 503 past the budget", counts(statuses),
  server.alive() && Object.keys(statuses).every((status) => /^(400|413|422|503|closed)$/.test(status)));
row(`one picture of one step beside them, ${times.length} times`, "done within 1 s, 99 of 100", `${counts(ends)}; ${summary(times)}; alone ${summary(alone)}; /healthz ${summary(health)}`,
  Object.keys(ends).join() === "done" && [...times].sort((a, b) => a - b)[Math.floor(times.length * 0.99)] <= 1000);
clearInterval(watch);
const after = await (async () => {
  let level = resident();
  for (let i = 0; i < 60 && level > before + 64; ++i) { await sleep(500); level = resident(); }
  return level;
})();
row("memory, with the process that decodes", "at most 1 GiB; back at its level after it", `${before} MiB before, ${most} MiB at most, ${after} MiB after`, most <= 1024 && after <= before + 64);
{
  const begun = await (await fetch(`${server.base}/api/v1/jobs`, { method: "POST", headers: { "X-Tessera-Client": "large" }, body: JSON.stringify({ verb: "generate", steps: 256, seed: 2, width: 512, height: 512 }) })).json();
  await sleep(1000);
  const { status, took } = await small();
  row("one picture of one step beside another client's 512x512 in 256 steps", "done within 1 s", `${status} after ${took} ms`, status === "done" && took <= 1000);
  await (await fetch(`${server.base}/api/v1/jobs/${begun.id}`, { method: "DELETE" })).text();
}
const { code } = await server.stop();
row("SIGTERM", "exit status 0", `exit status ${code}`, code === 0);
console.log("| trial | promise | found | |\n| --- | --- | --- | --- |");
for (const line of rows) console.log(line);
process.exit(broken ? 1 : 0);

// `tessera serve` under load and ill will, for a bounded time. Prints a Markdown table; exits with 1 where a promise is broken.
// usage: node load.mjs PROGRAM MODEL [SECONDS of the first phase, default 30]
import { createHash } from "node:crypto";
import net from "node:net";
import { startServer } from "../start_server.mjs";

const [program, model, phase = "30"] = process.argv.slice(2);
if (!program || !model) {
  console.error("usage: node load.mjs PROGRAM MODEL [SECONDS]");
  process.exit(2);
}
const kQueue = 64;
const server = await startServer(program, model, [
  "--max-queue", String(kQueue), "--keep-seconds", "20", "--slow-seconds", "5", "--max-body-mib", "4", "--grace-seconds", "20",
]);
const port = Number(new URL(server.base).port);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rows = [];
let broken = 0;

function row(what, asked, found, kept) {
  rows.push(`| ${what} | ${asked} | ${found} | ${kept ? "kept" : "BROKEN"} |`);
  if (!kept) ++broken;
  console.error(rows.at(-1));
}

const get = (path) => fetch(server.base + path);
const submit = (body, client) =>
  fetch(`${server.base}/api/v1/jobs`, { method: "POST", headers: { "X-Tessera-Client": client ?? "one" }, body: JSON.stringify(body) });
async function metric(name) {
  const text = await (await get("/metrics")).text();
  const found = text.split("\n").find((line) => line.startsWith(`${name} `));
  return found ? Number(found.split(" ")[1]) : 0;
}
async function ended(id) {
  for (;;) {
    const response = await get(`/api/v1/jobs/${id}`);
    if (response.status !== 200) return { state: `gone (${response.status})` };
    const job = await response.json();
    if (["done", "failed", "cancelled"].includes(job.state)) return job;
    await sleep(50);
  }
}
const fingerprint = (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
const mib = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;
const alive = async () => server.alive() && (await get("/healthz")).status === 200;

/// One raw connection: what came back, and after how many milliseconds it was closed.
function raw(begin, drip) {
  return new Promise((resolve) => {
    const start = Date.now();
    let text = "", timer;
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.write(begin);
      if (drip) timer = setInterval(() => drip(socket), 500);
    });
    const done = () => {
      clearInterval(timer);
      socket.destroy();
      resolve({ text, milliseconds: Date.now() - start });
    };
    socket.on("data", (data) => (text += data.toString("latin1")));
    socket.on("error", done);
    socket.on("close", done);
    setTimeout(done, 30000);
  });
}

// Warm: the model is loaded and every path has been walked once.
const seen = new Map(); // seed -> fingerprint of its tokens
async function oneJob(seed, client) {
  const response = await submit({ verb: "generate", seed, steps: 4, count: 1 + (seed % 3) }, client);
  if (response.status === 429) {
    if (!(Number(response.headers.get("retry-after")) >= 1)) return "429 without Retry-After";
    await response.text();
    return "429";
  }
  if (response.status !== 202) return `status ${response.status}`;
  const { id } = await response.json();
  const job = await ended(id);
  if (job.state !== "done") return `job ${job.state}`;
  if (job.results.length !== 1 + (seed % 3) || job.request.seed !== seed) return "another job's results";
  const { tokens } = await (await get(job.results[0].tokens_url)).json();
  const print = fingerprint(tokens);
  if (seen.has(seed) && seen.get(seed) !== print) return "mixed up";
  seen.set(seed, print);
  const bytes = Buffer.from(await (await get(job.results[0].url)).arrayBuffer());
  return bytes.readUInt32BE(0) === 0x89504e47 ? "done" : "no picture";
}
await oneJob(1, "warm");
await Promise.all([...Array(8).keys()].map((i) => oneJob(i, `warm ${i}`)));
const before = await metric("tessera_resident_bytes");

{ // 64 clients at once
  const counts = {};
  const until = Date.now() + 1000 * Number(phase);
  await Promise.all([...Array(64).keys()].map(async (client) => {
    for (let turn = 0; Date.now() < until; ++turn) {
      const result = await oneJob((client * 7 + turn * 3) % 40, `client ${client}`);
      counts[result] = (counts[result] ?? 0) + 1;
      if (result === "429") await sleep(300);
    }
  }));
  const bad = Object.entries(counts).filter(([result]) => result !== "done" && result !== "429");
  const prints = new Set(seen.values());
  row(`64 clients for ${phase} s`, "each gets its own seed's pictures; nothing lost",
    `${counts.done} jobs done, ${counts["429"] ?? 0} answered 429, ${bad.map(([r, n]) => `${n} ${r}`).join(", ") || "0 lost or mixed up"}, ${seen.size} seeds with ${prints.size} different grids`,
    bad.length === 0 && prints.size === seen.size && (await alive()));
}
{ // past the queue's bound
  const answers = await Promise.all([...Array(200).keys()].map((i) => submit({ verb: "generate", seed: i, steps: 2, count: 16 }, `flood ${i % 10}`)));
  const taken = [];
  let refused = 0, timed = 0;
  for (const answer of answers) {
    if (answer.status === 202) taken.push((await answer.json()).id);
    else if (answer.status === 429) {
      ++refused;
      timed += Number(answer.headers.get("retry-after")) >= 1;
      await answer.text();
    }
  }
  await Promise.all(taken.map((id) => fetch(`${server.base}/api/v1/jobs/${id}`, { method: "DELETE" }).then((r) => r.text())));
  const states = await Promise.all(taken.map(async (id) => (await ended(id)).state));
  row("200 submissions at once, queue of 64", "429 with Retry-After past the bound",
    `${taken.length} taken, ${refused} answered 429 (${timed} with Retry-After); those taken ended ${[...new Set(states)].join(" or ")}`,
    taken.length + refused === 200 && refused === timed && taken.length <= kQueue + 8 && refused > 0 && (await alive()));
}
{ // cancel storm
  const states = {};
  let slowest = 0;
  await Promise.all([...Array(256).keys()].map(async (i) => {
    await sleep(Math.random() * 4000);
    const response = await submit({ verb: "generate", seed: i, steps: 64, count: 2 }, `storm ${i % 16}`);
    if (response.status !== 202) { states.refused = (states.refused ?? 0) + 1; await response.text(); return; }
    const { id } = await response.json();
    await sleep(Math.random() * 200);
    const asked = Date.now();
    await (await fetch(`${server.base}/api/v1/jobs/${id}`, { method: "DELETE" })).text();
    const { state } = await ended(id);
    slowest = Math.max(slowest, Date.now() - asked);
    states[state] = (states[state] ?? 0) + 1;
  }));
  row("cancel storm: 256 jobs, each cancelled within 0.2 s", "each ends; the server goes on",
    `${Object.entries(states).map(([s, n]) => `${n} ${s}`).join(", ")}; slowest from DELETE to its end ${slowest} ms`,
    !states.failed && (await alive()));
}
{ // watchers that vanish
  const { id } = await (await submit({ verb: "generate", seed: 1, steps: 128, count: 4 }, "watched")).json();
  const controllers = [...Array(64).keys()].map(() => new AbortController());
  await Promise.all(controllers.map(async (controller) => {
    const response = await fetch(`${server.base}/api/v1/jobs/${id}/events`, { signal: controller.signal });
    await response.body.getReader().read();
    controller.abort();
  }));
  const { state } = await ended(id);
  row("64 watchers that leave in the middle", "the job is done", `job ${state}`, state === "done" && (await alive()));
}
{ // slow-loris
  const held = [...Array(128).keys()].map((i) =>
    i % 2 ? raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\n", (socket) => socket.write("X: y\r\n"))
          : raw("POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", (socket) => socket.write("x")));
  await sleep(1000);
  const times = [];
  for (let i = 0; i < 20; ++i) {
    const start = Date.now();
    await (await get("/healthz")).text();
    times.push(Date.now() - start);
    await sleep(50);
  }
  const closed = await Promise.all(held);
  const longest = Math.max(...closed.map((each) => each.milliseconds));
  row("slow-loris: 128 connections that drip", "cut off soon after 5 s; others are served",
    `all closed after ${Math.min(...closed.map((each) => each.milliseconds))} to ${longest} ms; /healthz meanwhile at most ${Math.max(...times)} ms`,
    longest < 15000 && Math.max(...times) < 2000 && (await alive()));
}
{ // oversized bodies
  const statuses = {};
  const count = (status) => (statuses[status] = (statuses[status] ?? 0) + 1);
  const jobs = [];
  for (let i = 0; i < 16; ++i) {
    jobs.push(raw(`POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${10 ** (7 + i % 6)}\r\n\r\n`).then((r) => count(r.text.slice(9, 12) || "closed")));
    jobs.push(raw("POST /v1/images/edits HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
      (socket) => { for (let k = 0; k < 40; ++k) socket.write(`10000\r\n${" ".repeat(0x10000)}\r\n`); }).then((r) => count(r.text.slice(9, 12) || "closed")));
  }
  const bomb = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAf/8AAH//CAYAAAA=", "base64").toString("base64"); // says 32767x32767
  const response = await submit({ verb: "variations", image: bomb });
  count(`${response.status} for a picture that says 32767x32767`);
  await Promise.all(jobs);
  row("oversized: bodies of 10 MB to 1 TB, endless chunks, a picture of 1 gigapixel", "413, 400 or closed", Object.entries(statuses).map(([s, n]) => `${n} x ${s}`).join(", "),
    Object.keys(statuses).every((status) => /^(413|400|closed)/.test(status)) && (await alive()));
}
{ // malformed
  const statuses = {};
  const random = (n) => Buffer.from([...Array(n).keys()].map((i) => (i * 2654435761 + n) >>> 8 & 255));
  const bodies = ["", "{", "[]", "null", "1e999", '"x"', "[".repeat(100000), '{"verb": 3}', '{"verb": "generate", "seed": 1e300}', '{"verb": "generate", "width": -1}',
    '{"verb": "fill", "tokens": [[null, 99999]]}', '{"verb": "fill", "tokens": [[]]}', '{"verb": "inpaint", "image": "data:,x"}', '{"verb": "stitch", "pieces": [{}]}', random(1000), random(65536)];
  for (const body of bodies) {
    for (const path of ["/api/v1/jobs", "/api/v1/decode", "/api/v1/encode", "/api/v1/candidates", "/v1/images/generations", "/v1/images/edits", "/sdapi/v1/img2img"]) {
      for (const type of ["application/json", "multipart/form-data; boundary=X"]) {
        const response = await fetch(server.base + path, { method: "POST", headers: { "Content-Type": type }, body });
        const text = await response.text();
        // Without fields a picture of the default model is a right answer of the OpenAI route.
        statuses[response.status] = (statuses[response.status] ?? 0) + 1;
        if (text.includes("\n") || /\/(home|root|work|usr)\//.test(text)) statuses.leaks = (statuses.leaks ?? 0) + 1;
      }
    }
  }
  for (const line of ["\r\n\r\n", "GET\r\n\r\n", "BREW / HTTP/1.1\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", random(4000).toString("latin1") + "\r\n\r\n", `GET /${"a".repeat(9000)} HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: localhost\r\nRange: bytes=${"0-,".repeat(2000)}0-\r\nConnection: close\r\n\r\n`, "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n"]) {
    const { text } = await raw(line);
    const status = text.slice(9, 12) || "closed";
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
  row("malformed: 16 bodies x 7 routes x 2 types, 8 bad heads", "4xx or closed, one line, no host path", Object.entries(statuses).map(([s, n]) => `${n} x ${s}`).join(", "),
    !statuses.leaks && !Object.keys(statuses).some((status) => /^5/.test(status)) && (await alive()));
}
{ // traversal
  const statuses = {};
  for (const path of ["/../etc/passwd", "/studio/../../etc/passwd", "/studio/..%2f..%2fetc%2fpasswd", "/studio/%2e%2e/%2e%2e/etc/passwd", "/studio//etc/passwd", "/studio/%00", "/api/v1/jobs/../../etc/passwd", "/studio/....//etc/passwd"]) {
    const { text } = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const status = text.includes("root:") ? "LEAK" : text.slice(9, 12);
    statuses[status] = (statuses[status] ?? 0) + 1;
  }
  row("traversal: 8 paths", "404 or 400", Object.entries(statuses).map(([s, n]) => `${n} x ${s}`).join(", "),
    Object.keys(statuses).every((status) => /^(404|400|414)$/.test(status)) && (await alive()));
}
{ // memory
  await sleep(22000); // what was kept is forgotten
  const after = await metric("tessera_resident_bytes");
  const kept = await metric("tessera_jobs_kept");
  row("memory after all of it", "near its level after warming up", `${mib(before)} before, ${mib(after)} after, ${kept} jobs kept`, after < before * 1.5 + 64 * 2 ** 20);
}
{ // batching
  const timed = async (work) => { const start = performance.now(); await work(); return performance.now() - start; };
  const body = (seed, count) => ({ verb: "generate", seed, count, steps: 64 });
  const ratios = [], alone = [], apart = [];
  for (let round = 0; round < 3; ++round) {
    alone.push(await timed(async () => ended((await (await submit(body(round, 8), "batch")).json()).id)));
    const each = await Promise.all([...Array(8).keys()].map((i) => timed(async () => ended((await (await submit(body(100 + i, 1), `single ${i}`)).json()).id))));
    apart.push(Math.max(...each));
    ratios.push(apart.at(-1) / alone.at(-1));
  }
  const median = (values) => [...values].sort((a, b) => a - b)[1];
  row("8 clients, one picture each, against one batch of 8 (64 steps, median of 3)", "at most 1.3x the time",
    `${(median(apart) / 1000).toFixed(2)} s against ${(median(alone) / 1000).toFixed(2)} s: ${median(ratios).toFixed(2)}x; fills with several jobs: ${await metric("tessera_fill_joined_total")}`, median(ratios) <= 1.3);
}
{ // SIGTERM
  const { id } = await (await submit({ verb: "generate", seed: 1, steps: 32, count: 4 }, "last")).json();
  const watched = (async () => (await get(`/api/v1/jobs/${id}/events`)).text())();
  await sleep(200);
  const start = Date.now();
  const { code } = await server.stop();
  const events = await watched.catch((error) => String(error));
  row("SIGTERM in the middle of a job", "the job is finished, its watcher told, exit status 0",
    `${events.includes("event: done") ? "done was told" : "done was not told"}, exit status ${code} after ${((Date.now() - start) / 1000).toFixed(1)} s`, code === 0 && events.includes("event: done"));
}
console.log("| trial | promise | found | |\n| --- | --- | --- | --- |");
for (const line of rows) console.log(line);
process.exit(broken ? 1 : 0);

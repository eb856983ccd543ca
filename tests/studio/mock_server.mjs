/**
 * A stand-in for `tessera serve`: the same routes and answers, a codec that is a palette of 512 colours and a "model" that
 * copies neighbours. It makes troubles on demand (a full queue, a failing job, a slow one), which the real server makes rarely.
 */
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { readPng, writePng } from './png.mjs';

const kFactor = 4;
const kNative = 16;
const kWords = 30; // that a text model reads
const kExamples = [['emoji_u1f9d0', 'face with monocle'], ['emoji_u1f69a', 'delivery truck'], ['emoji_u1f450_1f3ff', 'open hands: dark skin tone']];
const kTypes = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const kPolicy = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const colourOf = (code) => [((code >> 6) & 7) * 36 + 2, ((code >> 3) & 7) * 36 + 2, (code & 7) * 36 + 2];
const codeOf = (r, g, b) => (Math.min(7, r >> 5) << 6) | (Math.min(7, g >> 5) << 3) | Math.min(7, b >> 5);

function decode(rows) {
  const h = rows.length, w = rows[0].length;
  const rgb = new Uint8Array(h * w * kFactor * kFactor * 3);
  for (let y = 0; y < h * kFactor; y++)
    for (let x = 0; x < w * kFactor; x++) rgb.set(colourOf(rows[Math.floor(y / kFactor)][Math.floor(x / kFactor)] ?? 511), (y * w * kFactor + x) * 3);
  return writePng(w * kFactor, h * kFactor, rgb);
}

function encode({ width, height, rgb }) {
  const rows = [];
  for (let y = 0; y < Math.ceil(height / kFactor); y++) {
    rows.push([]);
    for (let x = 0; x < Math.ceil(width / kFactor); x++) {
      const sum = [0, 0, 0];
      let count = 0;
      for (let py = y * kFactor; py < Math.min(height, (y + 1) * kFactor); py++)
        for (let px = x * kFactor; px < Math.min(width, (x + 1) * kFactor); px++, count++)
          for (let c = 0; c < 3; c++) sum[c] += rgb[(py * width + px) * 3 + c];
      rows[y].push(codeOf(...sum.map((value) => Math.round(value / count))));
    }
  }
  return rows;
}

const pngOfUri = (uri) => readPng(Buffer.from(uri.slice(uri.indexOf(',') + 1), 'base64'));
const uriOf = (png) => `data:image/png;base64,${png.toString('base64')}`;

/** A small generator, so that a seed gives the same pictures. */
function random(seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** The masked grid of a request: null where to be filled. */
function gridOf(request) {
  const open = (w, h) => Array.from({ length: Math.ceil(h / kFactor) }, () => Array(Math.ceil(w / kFactor)).fill(null));
  if (request.tokens && !request.mask && !request.keep_mask && request.verb !== 'variations') return request.tokens.map((row) => [...row]);
  if (request.verb === 'generate') return open(request.width ?? 64, request.height ?? 64);
  if (request.verb === 'stitch') {
    const rows = request.onto ? encode(pngOfUri(request.onto)) : open(request.width, request.height);
    for (const { image, from, to } of request.pieces) {
      const codes = encode(pngOfUri(image));
      for (let y = 0; y < from[3] / kFactor; y++) for (let x = 0; x < from[2] / kFactor; x++) rows[to[1] / kFactor + y][to[0] / kFactor + x] = codes[from[1] / kFactor + y]?.[from[0] / kFactor + x] ?? null;
    }
    return rows;
  }
  const image = pngOfUri(request.image);
  const codes = request.tokens ?? encode(image);
  if (request.verb === 'outpaint') {
    const { left = 0, right = 0, top = 0, bottom = 0 } = request;
    const rows = open(image.width + left + right, image.height + top + bottom);
    codes.forEach((row, y) => row.forEach((code, x) => { rows[y + top / kFactor][x + left / kFactor] = code; }));
    return rows;
  }
  if (request.verb === 'variations') {
    const draw = random(request.seed);
    return codes.map((row) => row.map((code) => (draw() < request.strength ? null : code)));
  }
  const mask = pngOfUri(request.mask ?? request.keep_mask);
  return codes.map((row, y) => row.map((code, x) => {
    const white = mask.rgb[(y * kFactor * mask.width + x * kFactor) * 3] > 127;
    return white === Boolean(request.mask) ? null : code;
  }));
}

/** Frames of filling: cells in a random order, each the colour of a known neighbour, varied. */
function* fill(rows, seed, steps, temperature = 1) {
  const draw = random(seed);
  const grid = rows.map((row) => [...row]);
  const open = [];
  grid.forEach((row, y) => row.forEach((code, x) => code === null && open.push([y, x])));
  for (let i = open.length - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [open[i], open[j]] = [open[j], open[i]];
  }
  const base = Math.floor(draw() * 512);
  for (let step = 1; step <= steps; step++) {
    const upTo = Math.round((open.length * step) / steps);
    const from = Math.round((open.length * (step - 1)) / steps);
    for (const [y, x] of open.slice(from, upTo)) {
      const near = [[0, 1], [1, 0], [0, -1], [-1, 0]].map(([dy, dx]) => grid[y + dy]?.[x + dx]).filter((code) => code !== null && code !== undefined);
      const code = near.length ? near[Math.floor(draw() * near.length)] : base;
      grid[y][x] = draw() < 0.15 * temperature ? (code + [1, 8, 64][Math.floor(draw() * 3)]) % 512 : code;
    }
    yield { step, grid: grid.map((row) => [...row]) };
  }
}

export async function startMock({ root, troubles = {}, port = 0 }) {
  const jobs = new Map();
  let lastId = 0;

  const publicJob = (job) => ({
    id: job.id, verb: job.request.verb, model: job.request.model ?? 'mock', state: job.state, position: 0, count: job.request.count ?? 1, created: job.created, ended: null, name: job.name, starred: job.starred, deleted: job.deleted, effective: null, step: job.step, steps: job.steps, seconds: job.seconds, error: job.error ?? null, notes: [],
    request: Object.fromEntries(Object.entries(job.request).map(([name, value]) => [name, typeof value === 'string' && value.startsWith('data:') ? {} : value])), command: `tessera ${job.request.verb} -m mock --seed ${job.request.seed}`, grid: [job.rows.length, job.rows[0].length], factor: kFactor, area: [0, 0, job.rows[0].length * kFactor, job.rows.length * kFactor], offset: [0, 0],
    results: job.results.map((_, k) => ({ url: `/api/v1/jobs/${job.id}/images/${k}`, tokens_url: `/api/v1/jobs/${job.id}/tokens/${k}`, seed: job.request.seed, image_number: k, width: job.rows[0].length * kFactor, height: job.rows.length * kFactor })),
  });
  const emit = (job, name, data) => {
    const text = `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    job.past.push(text);
    for (const response of job.watchers) response.write(text);
    if (['done', 'failed', 'cancelled'].includes(name)) for (const response of job.watchers) response.end();
  };

  async function work(job) {
    const { request } = job;
    const count = request.count ?? 1;
    const begin = Date.now();
    job.state = 'running';
    job.order = Array.from({ length: count }, () => job.rows.map((row) => row.map((code) => (code === null ? -1 : 0))));
    const fills = Array.from({ length: count }, (_, k) => fill(job.rows, (request.seed ?? 1) * 97 + k, job.steps, request.temperature));
    emit(job, 'cells', { step: 0, tokens: Array.from({ length: count }, () => job.rows.flat()) });
    for (let step = 1; step <= job.steps; step++) {
      do await new Promise((resolve) => setTimeout(resolve, troubles.slow ? 400 : 12));
      while (troubles.held && job.state === 'running'); // as long as a test looks at a job that runs
      if (job.state === 'cancelled') return;
      if (troubles.fail && step > 3) {
        job.state = 'failed';
        job.error = 'model mock: the denoiser gave NaN for every code';
        emit(job, 'failed', publicJob(job));
        return;
      }
      job.step = step;
      const grids = fills.map((frames) => frames.next().value.grid);
      grids.forEach((grid, n) => grid.forEach((row, y) => row.forEach((code, x) => { if (code !== null && job.order[n][y][x] < 0) job.order[n][y][x] = step; })));
      // A restless sampler masks and fills again, so that every cell is another one at each step.
      emit(job, 'cells', { step, tokens: grids.map((grid) => grid.flat().map((code, cell) => (troubles.restless ? (step * 7 + cell) % 512 : code))) });
      emit(job, 'progress', { step, steps: job.steps, evaluations: step * count, rate: 80, eta_seconds: (job.steps - step) * 0.012 });
      if (step % (troubles.slow ? 2 : 8) === 0) emit(job, 'preview', { step, first: 0, images: grids.map((grid) => uriOf(decode(grid))) });
      if (step % 4 === 0 && step < job.steps) emit(job, 'guess', { step, first: 0, images: grids.map((grid) => uriOf(decode(grid.map((row) => row.map((code) => code ?? 73))))) });
      if (step === job.steps) job.results = grids;
    }
    job.seconds = (Date.now() - begin) / 1000;
    job.state = 'done';
    emit(job, 'done', publicJob(job));
  }

  /** Newest first; words in the name, the prompt and the verb. */
  function listed(query) {
    const words = (query.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (job) => !job.deleted && (!query.get('starred') || job.starred) && (!query.get('state') || job.state === query.get('state'))
      && words.every((word) => `${job.name ?? ''} ${job.request.prompt ?? ''} ${job.request.verb}`.toLowerCase().includes(word));
    const all = [...jobs.values()].filter(fits).reverse();
    const rest = all.filter((job) => !query.get('before') || Number(job.id) < Number(query.get('before')));
    const page = rest.slice(0, Number(query.get('limit') ?? 50));
    return { jobs: page.map(publicJob), next: page.length < rest.length ? Number(page.at(-1).id) : null, total: all.length };
  }

  async function bodyOf(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString());
  }

  async function route(request, response) {
    const { pathname } = new URL(request.url, 'http://mock');
    const answer = (status, body, headers = {}) => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Security-Policy': kPolicy, ...headers });
      response.end(JSON.stringify(body));
    };
    const file = pathname === '/' ? 'index.html' : pathname.startsWith('/studio/') ? normalize(pathname.slice(8)) : null;
    if (file !== null) {
      const body = await readFile(join(root, file)).catch(() => null);
      if (!body) return answer(404, { error: { message: 'no such file' } });
      response.writeHead(200, { 'Content-Type': kTypes[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': kPolicy });
      return response.end(body);
    }
    if (troubles.key && request.headers.authorization !== `Bearer ${troubles.key}`) return answer(401, { error: { message: 'a key is needed' } });
    if (pathname === '/api/v1/capabilities') {
      return answer(200, {
        version: '0.1.0', verbs: ['generate', 'inpaint', 'outpaint', 'stitch', 'variations', 'reconstruct', 'fill'], limits: troubles.limits ?? {}, workspace: troubles.workspace ?? false,
        models: (troubles.models ?? ['mock']).map((name) => ({ name, width: 64, height: 64, factor: kFactor, grid: [kNative, kNative], codebook_size: 512, has_prior: true, process: 'absorbing', condition: troubles.condition ?? 'none', classes: troubles.classes ?? [], samplers: ['ancestral', 'confidence', 'raster'], defaults: { steps: 64, temperature: 1, sampler: 'ancestral' }, loaded: true })),
      });
    }
    const [, card] = /^\/api\/v1\/models\/([^/]+)\/card$/.exec(pathname) ?? [];
    if (card) {
      return answer(200, { name: card, folder: null, text: '# mock\n\nBlocks of colour, on white.\n\nWhat it can and cannot do: copies its neighbours.', examples: kExamples.map(([name, text], k) => ({ url: `/api/v1/models/${card}/examples/${k}`, name, text })) });
    }
    const [, which] = /^\/api\/v1\/models\/[^/]+\/examples\/(\d+)$/.exec(pathname) ?? [];
    if (which) {
      response.writeHead(200, { 'Content-Type': 'image/png' });
      return response.end(await readFile(join(root, '../../../models/emoji64/examples', `${kExamples[which][0]}.png`)));
    }
    if (/^\/api\/v1\/models\/[^/]+\/words$/.test(pathname)) {
      const words = (await bodyOf(request)).text.split(/\s+/).filter(Boolean);
      return answer(200, { tokens: words.length, most: kWords, left_out: words.slice(kWords).join(' ') });
    }
    if (pathname === '/api/v1/jobs' && request.method === 'POST') {
      if (troubles.full) return answer(429, { error: { message: 'the queue is full' } }, { 'Retry-After': '7' });
      const wanted = await bodyOf(request);
      if (troubles.refuse) return answer(400, { error: { message: troubles.refuse, field: 'temperature' } });
      const job = { id: String(++lastId), request: wanted, rows: gridOf(wanted), steps: wanted.steps ?? 64, step: 0, state: 'queued', results: [], watchers: new Set(), past: [], seconds: 0, created: Date.now() / 1000, name: null, starred: false, deleted: false };
      jobs.set(job.id, job);
      work(job);
      return answer(202, { id: job.id, state: 'queued', url: `/api/v1/jobs/${job.id}`, events: `/api/v1/jobs/${job.id}/events`, position: 0 });
    }
    if (pathname === '/api/v1/jobs') return answer(200, listed(new URL(request.url, 'http://mock').searchParams));
    if (pathname === '/api/v1/project') {
      if (request.method === 'GET') {
        response.writeHead(200, { 'Content-Type': 'application/zip' });
        return response.end(JSON.stringify(listed(new URL(request.url, 'http://mock').searchParams).jobs.map(({ id }) => id)));
      }
      const ids = await bodyOf(request);
      for (const id of ids) jobs.get(id).deleted = false;
      return answer(200, { taken: 0, known: ids.length });
    }
    if (pathname === '/api/v1/encode') {
      const image = pngOfUri((await bodyOf(request)).image);
      return answer(200, { tokens: encode(image), codebook_size: 512, factor: kFactor, width: image.width, height: image.height });
    }
    if (pathname === '/api/v1/decode') return answer(200, { image: uriOf(decode((await bodyOf(request)).tokens)) });
    if (pathname === '/api/v1/score') { // a cell fits where a neighbour has its colour
      const { tokens } = await bodyOf(request);
      const rows = tokens.map((row, y) => row.map((code, x) => ([[0, 1], [1, 0], [0, -1], [-1, 0]].some(([dy, dx]) => tokens[y + dy]?.[x + dx] === code) ? -0.1 : -7)));
      return answer(200, { scores: [rows], sums: [rows.flat().reduce((a, b) => a + b)], given: 'others', evaluations: 16 });
    }
    if (pathname === '/api/v1/candidates') {
      const { tokens, cell: [y, x], count } = await bodyOf(request);
      const near = tokens[y][x - 1] ?? tokens[y][x + 1] ?? 0;
      const patch = (code) => [-1, 0, 1].map((dy) => [-1, 0, 1].map((dx) => (dy || dx ? tokens[y + dy]?.[x + dx] ?? 511 : code)));
      return answer(200, { candidates: Array.from({ length: count }, (_, k) => ({ token: (near + k * 9) % 512, probability: 0.5 ** (k + 1), image: uriOf(decode(patch((near + k * 9) % 512))) })) });
    }
    const [, id, what, k] = /^\/api\/v1\/jobs\/(\w+)(?:\/(images|tokens|events|request|unmasking)(?:\/(\d+))?)?$/.exec(pathname) ?? [];
    const job = jobs.get(id);
    if (!job) return answer(404, { error: { message: `no route ${pathname}` } });
    if (request.method === 'DELETE') {
      job.state = 'cancelled';
      emit(job, 'cancelled', publicJob(job));
      return answer(200, publicJob(job));
    }
    if (request.method === 'PATCH') {
      Object.assign(job, await bodyOf(request));
      return answer(200, publicJob(job));
    }
    if (what === 'request') return answer(200, job.request);
    if (what === 'unmasking') {
      response.writeHead(200, { 'Content-Type': 'image/webp' });
      return response.end('RIFF....WEBPVP8X');
    }
    if (what === 'images') {
      response.writeHead(200, { 'Content-Type': 'image/png' });
      return response.end(decode(job.results[k]));
    }
    if (what === 'tokens') return answer(200, { tokens: job.results[k], order: job.order[k], codebook_size: 512, factor: kFactor });
    if (what !== 'events') return answer(200, publicJob(job));
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const text of job.past) response.write(text);
    if (['done', 'failed', 'cancelled'].includes(job.state)) return response.end();
    job.watchers.add(response);
    request.on('close', () => job.watchers.delete(response));
    return undefined;
  }

  const server = createServer((request, response) => route(request, response).catch((error) => {
    response.writeHead(400, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify({ error: { message: error.message } }));
  }));
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, troubles, stop: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }) };
}

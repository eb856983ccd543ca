/** The server's routes. Every call throws ApiError with words for people; nothing here touches the page. */
import { readEvents } from './event_stream.js';
import { t } from './words.js';

const root = new URL('api/v1/', document.baseURI);
let apiKey = sessionStorage.getItem('tessera-key') ?? '';
let askForKey = null; // () => Promise<string>
let asking = null; // the question under way, one for all calls that wait

export class ApiError extends Error {
  constructor(message, { status = 0, field = '', retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, field, retryAfter });
  }
}

/** Called when the server demands its key; what it resolves to is kept for this tab. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

const unreachable = t('The server does not answer. Is `tessera serve` still running?');

async function failure(response) {
  let message = '';
  let field = '';
  try {
    const body = await response.json();
    message = body.error?.message ?? '';
    field = body.error?.field ?? '';
  } catch {
    // not JSON: the status has to do
  }
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  if (response.status === 429) {
    const wait = retryAfter ? t('It should have room in about {seconds} s.', { seconds: retryAfter }) : '';
    return new ApiError([t('The server has as much work waiting as it takes.'), wait].filter(Boolean).join(' '), { status: 429, retryAfter });
  }
  if (response.status === 413) message = `${t('This is more than the server takes at once.')} ${message}`.trim();
  return new ApiError(message || t('The server answered {status}', { status: `${response.status} ${response.statusText}`.trim() }), { status: response.status, field });
}

async function call(path, { method = 'GET', body, signal } = {}) {
  const headers = {};
  const used = apiKey;
  const bytes = body instanceof Blob; // sent as they are
  if (body !== undefined) headers['Content-Type'] = bytes ? body.type || 'application/octet-stream' : 'application/json';
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  let response;
  try {
    response = await fetch(new URL(path, root), { method, headers, body: body === undefined || bytes ? body : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(unreachable);
  }
  if (response.status === 401 && askForKey) {
    if (apiKey !== used) return call(path, { method, body, signal }); // another call has asked meanwhile
    asking ??= askForKey(Boolean(apiKey)).finally(() => { asking = null; });
    const key = await asking;
    if (key) {
      apiKey = key;
      sessionStorage.setItem('tessera-key', key);
      return call(path, { method, body, signal });
    }
  }
  if (!response.ok) throw await failure(response);
  return response;
}

const json = async (path, options) => (await call(path, options)).json();

export const capabilities = () => json('capabilities');
export const card = (model) => json(`models/${encodeURIComponent(model)}/card`);
export const words = (model, text) => json(`models/${encodeURIComponent(model)}/words`, { method: 'POST', body: { text } });
/** Bytes of an example of the card. */
export const example = async (url) => (await call(new URL(url.replace(/^\//, ''), document.baseURI))).blob();
export const submit = (request) => json('jobs', { method: 'POST', body: request });
export const job = (id) => json(`jobs/${encodeURIComponent(id)}`);
export const cancel = (id) => call(`jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
/** A page of the server's jobs: {jobs, next, total}. query: {q, state, starred, deleted, before, limit}. */
export const jobs = (query, signal) => json(`jobs?${new URLSearchParams(Object.entries(query).filter(([, value]) => value))}`, { signal });
/** Names a job, gives it a star, deletes it or brings it back. */
export const label = (id, patch) => json(`jobs/${encodeURIComponent(id)}`, { method: 'PATCH', body: patch });
/** What was asked, with its pictures. */
export const requestOfJob = (id) => json(`jobs/${encodeURIComponent(id)}/request`);
/** Finished jobs with their pictures as one file, and back: {taken, known}. */
export const project = async (query) => (await call(`project?${new URLSearchParams(Object.entries(query).filter(([, value]) => value))}`)).blob();
export const takeProject = (file) => json('project', { method: 'POST', body: file });
export const encode = (model, image) => json('encode', { method: 'POST', body: { model, image } });
export const decode = (model, tokens) => json('decode', { method: 'POST', body: { model, tokens } });
/** The log probability of every cell's code given the others: {scores: [[rows]], sums, given}. */
export const score = (request, signal) => json('score', { method: 'POST', body: request, signal });
export const candidates = (request, signal) => json('candidates', { method: 'POST', body: request, signal });

/** Bytes of result k as a PNG. */
export const resultImage = async (id, k) => (await call(`jobs/${encodeURIComponent(id)}/images/${k}?format=png`)).blob();
/** How result k was filled, as an animated WebP. */
export const unmasking = async (id, k) => (await call(`jobs/${encodeURIComponent(id)}/unmasking/${k}`)).blob();
export const resultTokens = (id, k) => json(`jobs/${encodeURIComponent(id)}/tokens/${k}`);

/** Calls back with (name, data) for each event of the job until its stream ends. Throws where the stream breaks. */
export async function follow(id, callback, signal) {
  const response = await call(`jobs/${encodeURIComponent(id)}/events`, { signal });
  for await (const event of readEvents(response.body)) callback(event.name, JSON.parse(event.data));
}

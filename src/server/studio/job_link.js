/** A job in the fragment of a URL: #job=, then the request as JSON, deflated, in the URL's base64. It never reaches the server. */
import { t } from './words.js';
const kMostLetters = 1_500_000; // browsers cut longer URLs
const kMostBytes = 32 << 20; // of JSON that a link may unfold to

async function through(stream, bytes, most = Infinity) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  const chunks = [];
  let length = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) {
      await reader.cancel();
      throw new Error(t('This link unfolds to more than a job can be.'));
    }
    chunks.push(value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

function toLetters(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

const fromLetters = (letters) => Uint8Array.from(atob(letters.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));

/** In: {task, title, request, width, height}. Throws where the pictures in it are too large for a URL. */
export async function linkOf({ task, title, request, width, height }) {
  const json = JSON.stringify({ task, title, request, width, height });
  const letters = toLetters(await through(new CompressionStream('deflate-raw'), new TextEncoder().encode(json)));
  if (letters.length > kMostLetters) throw new Error(t('The pictures of this job are too large for a link. Copy the command instead.'));
  return `${location.href.split('#')[0]}#job=${letters}`;
}

/** The job of a fragment, or null where it holds none. Throws where it is damaged. */
export async function jobOfFragment(fragment) {
  const match = /^#job=([\w-]+)$/.exec(fragment);
  if (!match) return null;
  let job;
  try {
    const bytes = await through(new DecompressionStream('deflate-raw'), fromLetters(match[1]), kMostBytes);
    job = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error(t('This link is damaged: the job in it cannot be read.'));
  }
  if (typeof job?.task !== 'string' || typeof job.request?.verb !== 'string') throw new Error(t('This link holds no job.'));
  return job;
}

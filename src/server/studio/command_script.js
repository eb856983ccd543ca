/**
 * A job as lines for a shell, to be run as they are: its pictures are written into a folder of its own, the command runs in it.
 * The server's command line names its inputs after the request's fields (image.png, mask.png, piece0.png).
 */
import * as api from './api.js';

const kLetters = 76; // a line of base64

/** {file name: data URI} of what the command reads. */
function inputsOf(request) {
  const files = {};
  for (const name of ['image', 'onto', 'mask', 'keep_mask']) if (request[name]) files[`${name}.png`] = request[name];
  (request.pieces ?? []).forEach(({ image }, k) => { files[`piece${k}.png`] = image; });
  return files;
}

const written = (name, uri) => {
  const letters = uri.slice(uri.indexOf(',') + 1).match(new RegExp(`.{1,${kLetters}}`, 'g')) ?? [];
  return `base64 -d > ${name} <<'END'\n${letters.join('\n')}\nEND`;
};

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** In: an entry of the history. A model is named by its folder where the server tells it. Throws where the server does not answer. */
export async function scriptOf({ task, id, request, command }) {
  const { folder } = await api.card(request.model).catch(() => ({ folder: null }));
  const line = folder ? command.replace(/ -m \S+/, () => ` -m ${quoted(folder)}`) : command;
  const files = Object.entries(inputsOf(request));
  if (!files.length) return line;
  const place = `tessera-${task}-${request.seed ?? 0}-${id.slice(0, 6)}`;
  return [`( set -e; mkdir -p ${place}; cd ${place}`, ...files.map(([name, uri]) => written(name, uri)), `${line} )`].join('\n');
}

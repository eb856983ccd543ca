/** What a PNG says of itself (its text chunks: the recipe of a result) carried over to another. */
const kHead = 8; // bytes of the signature
const kText = new Set(['tEXt', 'zTXt', 'iTXt']);

/** [{type, from, to}] of the chunks, bytes from the length to the checksum. */
function chunksOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = [];
  for (let at = kHead; at + 12 <= bytes.length;) {
    const to = at + 12 + view.getUint32(at);
    chunks.push({ type: String.fromCharCode(...bytes.subarray(at + 4, at + 8)), from: at, to });
    at = to;
  }
  return chunks;
}

/** {keyword: text} of the chunks that are not packed; nothing of what is no PNG. In: a blob. */
export async function textsOf(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const texts = {};
  if (String.fromCharCode(...bytes.subarray(1, 4)) !== 'PNG') return texts;
  for (const { type, from, to } of chunksOf(bytes)) {
    if ((type !== 'tEXt' && type !== 'iTXt') || to > bytes.length) continue;
    const data = bytes.subarray(from + 8, to - 4);
    const end = data.indexOf(0);
    if (end < 1 || (type === 'iTXt' && data[end + 1] !== 0)) continue;
    let begin = end + 1;
    if (type === 'iTXt') begin = data.indexOf(0, data.indexOf(0, end + 3) + 1) + 1; // behind language and translated keyword
    texts[new TextDecoder('latin1').decode(data.subarray(0, end))] = new TextDecoder(type === 'iTXt' ? 'utf-8' : 'latin1').decode(data.subarray(begin));
  }
  return texts;
}

/** The PNG `to` with the text chunks of the PNG `from` before its end. In and out: blobs. */
export async function withTextOf(from, to) {
  const [source, target] = await Promise.all([from, to].map(async (blob) => new Uint8Array(await blob.arrayBuffer())));
  const text = chunksOf(source).filter(({ type }) => kText.has(type)).map((chunk) => source.subarray(chunk.from, chunk.to));
  const end = chunksOf(target).find(({ type }) => type === 'IEND');
  if (!end || !text.length) return to;
  return new Blob([target.subarray(0, end.from), ...text, target.subarray(end.from)], { type: 'image/png' });
}

/** Random numbers that belong to (seed, picture): picture i is the same whatever the count and whoever draws it. */

/** FNV-1a over UTF-16 units, then the finaliser of MurmurHash3. */
function hash(text) {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A stream keyed by words: uniform numbers in [0, 1), and what is made of them. */
export function stream(...key) {
  const name = key.join('/');
  let drawn = 0;
  const uniform = () => hash(`${name}#${drawn++}`) / 4294967296;
  const pick = (list) => list[Math.floor(uniform() * list.length)];
  /** One of the choices, each as often as its weight says. */
  const weighted = (list) => {
    const total = list.reduce((sum, choice) => sum + (choice.weight ?? 1), 0);
    let left = uniform() * total;
    return list.find((choice) => (left -= choice.weight ?? 1) < 0) ?? list[list.length - 1];
  };
  /** Fisher and Yates. */
  const shuffled = (list) => {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = Math.floor(uniform() * (i + 1));
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  };
  return { uniform, pick, weighted, shuffled };
}

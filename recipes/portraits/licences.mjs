/** The text of LICENSES: who designed the styles that were drawn, and on which terms. */
import { licenceOf } from './portrait.mjs';
import { styles } from './styles.mjs';

export function licences(counts) {
  const lines = Object.entries(counts).map(([name, count]) => {
    const { title, creator, source, name: licence, url } = licenceOf(styles[name]);
    return `${name}: ${count} pictures, ${licence} (${url})\n    "${title}" by ${creator}, ${source}; npm @dicebear/${name}`;
  });
  return [
    'portraits: drawn faces of nobody. Each picture has the licence of its style (field "license" of metadata.jsonl).',
    '',
    ...lines,
    '',
    'Changes made: drawn by DiceBear (code MIT, dicebear.com) from chosen parts and in colours of our own, scaled, rendered to PNG.',
    'Where a licence is CC-BY-4.0, name the designer when you pass on pictures of that style or what was trained on them.',
    '',
  ].join('\n');
}

/** Which portraits no model may train on: fixed combinations of attributes, and a random share of all others. */
import { stream } from './random.mjs';

/** A portrait that has all attributes of one of these is `combination-heldout`. Each attribute alone is frequent in `train`. */
export const heldOutCombinations = [
  { style: 'avataaars', glasses: 'round glasses', hair_color: 'red' },
  { style: 'avataaars', eyes: 'heart', mouth: 'tongue out' },
  { style: 'avataaars', clothes: 'hoodie', clothes_color: 'green' },
  { style: 'avataaars', hair: 'afro', beard: 'full beard' },
  { style: 'personas', glasses: 'glasses', hair_color: 'blue' },
  { style: 'personas', beard: 'moustache', mouth: 'big smile' },
  { style: 'personas', clothes: 'checkered shirt', clothes_color: 'purple' },
  { style: 'toon-head', hair: 'bun', hair_color: 'pink' },
  { style: 'toon-head', eyes: 'winking', mouth: 'laughing mouth' },
  { style: 'toon-head', clothes: 'turtleneck', clothes_color: 'yellow' },
  { style: 'big-ears', eyes: 'star', mouth: 'cat smile' },
  { style: 'big-ears', hair: 'spiky hair', hair_color: 'blue' },
  { style: 'dylan', hair: 'flat top', hair_color: 'white' },
  { style: 'dylan', mouth: 'wavy mouth', background: 'light green' },
  { eyes: 'closed', mouth: 'open mouth' },
];
const heldOutShare = 0.03;

const isHeldOutCombination = (said) => heldOutCombinations.some((combination) => Object.entries(combination).every(([name, word]) => said[name] === word));

/** Of what a portrait shows, not of its number or seed: the same picture is never in two splits, in no set that is made of any seed. */
export function splitOf(said) {
  if (isHeldOutCombination(said)) return 'combination-heldout';
  return stream('split', ...Object.values(said)).uniform() < heldOutShare ? 'held-out' : 'train';
}

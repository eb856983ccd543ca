/** One portrait: its choices, its drawing, and what is said about it. In: seed, number, styles. Out: SVG and attributes. */
import { createAvatar } from '@dicebear/core';
import * as collection from '@dicebear/collection';
import { backgroundColours, clothesColours, hairColours, skinColours } from './colours.mjs';
import { stream } from './random.mjs';
import { styles } from './styles.mjs';

/** Every attribute of a portrait, in the order of a caption; 'none' where it is not drawn, 'hidden' where something covers it. */
export const attributes = ['style', 'hair', 'hair_color', 'hat', 'hat_color', 'eyes', 'mouth', 'cheeks', 'beard', 'glasses', 'clothes', 'clothes_color', 'skin', 'background'];
const palettes = { hair: hairColours, hat: clothesColours, clothes: clothesColours, skin: skinColours, background: backgroundColours };
/** Names of parts that cannot be seen beside these choices. */
const hiddenBy = (parts) => Object.values(parts).flatMap((choice) => choice.hides ?? []);
const shown = (word) => word !== 'none' && word !== 'hidden';
const colourless = (hair) => !shown(hair) || hair === 'bald head';

/** A choice for every part and a colour for everything coloured. ensures: hidden parts take their first choice, hidden clothes the hat's colour. */
export function choose(random, style) {
  const parts = Object.fromEntries(Object.entries(style.parts).map(([part, list]) => [part, random.weighted(list)]));
  const colourOf = (thing) => random.pick(thing === 'skin' ? style.skins : Object.keys(palettes[thing]));
  const colours = Object.fromEntries([...Object.keys(style.colours), 'background'].map((thing) => [thing, colourOf(thing)]));
  for (const part of hiddenBy(parts)) {
    parts[part] = style.parts[part][0];
    if (part === 'clothes') colours.clothes = colours.hat;
  }
  return { parts, colours };
}

/** The DiceBear options that draw these choices and nothing of DiceBear's own choosing. */
function optionsFor(style, { parts, colours }) {
  const options = { ...style.layout, clip: false };
  const set = (option, variant) => {
    if (variant !== null) options[option] = [variant];
    options[`${option}Probability`] = variant === null ? 0 : 100;
  };
  for (const draw of [style.fixed, ...Object.values(parts).map((choice) => choice.draw)]) for (const [option, variant] of Object.entries(draw)) set(option, variant);
  for (const [thing, names] of Object.entries({ ...style.colours, background: ['backgroundColor'] })) for (const name of names) options[name] = [palettes[thing][colours[thing]]];
  return options;
}

const nameOf = (palette, code, where) => {
  const found = Object.entries(palette).find(([, hex]) => `#${hex}` === code);
  if (!found) throw new Error(`${where} '${code}': expected one of #${Object.values(palette).join(', #')}`);
  return found[0];
};

/** What was drawn, in words, from DiceBear's own account of it. */
export function attributesOf(style, drawn) {
  const said = Object.fromEntries(attributes.map((name) => [name, 'none']));
  said.style = style.package;
  const parts = {};
  for (const [part, list] of Object.entries(style.parts)) {
    parts[part] = list.find(({ draw }) => Object.entries(draw).every(([option, variant]) => (drawn[option] ?? null) === variant));
    if (!parts[part]) throw new Error(`${style.package} ${part}: no choice draws ${JSON.stringify(drawn)}`);
    Object.assign(said, parts[part].say);
  }
  for (const part of hiddenBy(parts)) said[part] = 'hidden';
  const colour = (thing) => nameOf(palettes[thing], drawn[style.colours[thing][0]], `${style.package} ${thing}`);
  if (!colourless(said.hair) || said.beard !== 'none') said.hair_color = colour('hair');
  if (said.hat !== 'none' && style.colours.hat) said.hat_color = colour('hat');
  if (said.clothes !== 'none') said.clothes_color = shown(said.clothes) ? colour('clothes') : 'hidden';
  said.skin = colour('skin');
  said.background = nameOf(backgroundColours, drawn.primaryBackgroundColor, 'background');
  return said;
}

/** The phrases of a caption in their usual order, the style first. Each attribute that was drawn is in one of them. */
export function phrasesOf(said) {
  const phrases = [`${styles[said.style].name} portrait`];
  if (shown(said.hair)) phrases.push(colourless(said.hair) ? said.hair : `${said.hair_color} ${said.hair}`);
  if (shown(said.hat)) phrases.push(`${said.hat_color} ${said.hat}`);
  if (shown(said.eyes)) phrases.push(`${said.eyes} eyes`);
  phrases.push(said.mouth);
  if (shown(said.cheeks)) phrases.push(said.cheeks);
  if (shown(said.beard)) phrases.push(`${said.hair_color} ${said.beard}`);
  if (shown(said.glasses)) phrases.push(said.glasses);
  if (shown(said.clothes)) phrases.push(`${said.clothes_color} ${said.clothes}`);
  phrases.push(`${said.skin} skin`, `${said.background} background`);
  return phrases;
}

/** Half of the captions keep the usual order, half take a random one after the style. */
function caption(random, [style, ...others]) {
  return [style, ...(random.uniform() < 0.5 ? others : random.shuffled(others))].join(', ');
}

/**
 * The drawing as resvg should see it. Version 2.6 reads mask-type as an attribute only; from a style it takes luminance for alpha, and
 * open mouths fade away. White veils (Personas) become thin: under the usual ones dark skin is grey and black hair is not black. The
 * line of a closed mouth (ToonHead) becomes opaque: at half opacity a smile and a frown look the same at 128 pixels.
 */
const prepared = (svg) =>
  svg
    .replace(/style="mask-type:([a-z]+)"/g, 'mask-type="$1"')
    .replaceAll('fill="#3F2626" fill-opacity="0.5"', 'fill="#3F2626"')
    .replace(/<path[^>]*>/g, (path) => (path.includes('fill="#fff"') && path.includes('mix-blend-mode:overlay') ? path.replace(/opacity="[.0-9]+"/, 'opacity=".08"') : path));

/** In: a style and choices as of `choose`. Out: SVG and what DiceBear says that it drew. */
export function draw(style, chosen) {
  const avatar = createAvatar(collection[style.collection], { seed: 'tessera', ...optionsFor(style, chosen) });
  return { svg: prepared(avatar.toString()), drawn: avatar.toJson().extra };
}

/** ensures: the same seed and number give the same portrait, whatever else is drawn. */
export function portrait(seed, number, styleNames) {
  const random = stream(seed, number, 'portrait');
  const style = styles[random.pick(styleNames)];
  const { svg, drawn } = draw(style, choose(random, style));
  const said = attributesOf(style, drawn);
  const keywords = phrasesOf(said);
  return { svg, attributes: said, keywords, text: caption(random, keywords), license: licenceOf(style).name };
}

/** Who designed a style and on which terms: name, url. The design's licence, not the code's. */
export function licenceOf(style) {
  const { title, creator, source, license } = collection[style.collection].meta;
  const name = { 'CC BY 4.0': 'CC-BY-4.0', 'CC0 1.0': 'CC0-1.0' }[license.name] ?? license.name;
  return { title, creator, source, name, url: license.url };
}

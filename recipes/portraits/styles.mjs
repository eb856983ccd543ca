/**
 * What each style can draw and what that is called. A style is a list of parts; a part is a list of choices; a choice says words
 * (`say`: attribute -> word) and draws DiceBear options (`draw`: option -> variant, null for "not drawn"). The same list draws
 * a portrait and reads back what was drawn, so a caption cannot differ from its picture. Variants that look alike at 128 pixels, or that
 * no plain word names, are left out.
 * `weight` is how often a choice is taken (default 1). `hides` names parts that cannot be seen beside it: no words are said of them.
 */
import { skinColours } from './colours.mjs';

/** Choices of a part that draws one option: word -> variant, or word -> options. */
const choices = (attribute, option, table) =>
  Object.entries(table).map(([word, variant]) => ({
    say: { [attribute]: word },
    draw: variant !== null && typeof variant === 'object' ? variant : { [option]: variant },
  }));
/** The first choice is taken `share` times as often as all others together. */
const mostly = (share, [first, ...others]) => [{ ...first, weight: share * others.length }, ...others];
const hat = (word, draw) => ({ say: { hair: 'hidden', hat: word }, draw, weight: 0.7 });

const avataaars = {
  package: 'avataaars',
  collection: 'avataaars',
  name: 'avataaars',
  layout: { scale: 118, translateY: 9 },
  fixed: { style: 'default', nose: 'default', base: 'default', accessoriesColor: '262e33' },
  colours: { hair: ['hairColor', 'facialHairColor'], hat: ['hatColor'], clothes: ['clothesColor'], skin: ['skinColor'] },
  parts: {
    hair: [
      ...choices('hair', 'top', {
        'short hair': 'shortFlat',
        'short curly hair': 'shortCurly',
        'short wavy hair': 'shortWaved',
        'short dreadlocks': 'dreads01',
        'buzz cut': 'theCaesar',
        quiff: 'frizzle',
        'hair at the sides': 'sides',
        'shaggy hair': 'shaggy',
        mullet: 'shaggyMullet',
        'frizzy hair': 'dreads02',
        afro: 'fro',
        bob: 'bob',
        bun: 'bun',
        'shoulder-length hair': 'longButNotTooLong',
        'medium curly hair': 'curly',
        'long wavy hair': 'curvy',
        'long straight hair': 'straight01',
        'braided hair with flowers': 'frida',
        'bald head': null,
      }),
      hat('turban', { top: 'turban' }),
      { say: { hair: 'hidden', hat: 'hijab' }, draw: { top: 'hijab' }, weight: 0.7, hides: ['clothes'] },
      hat('winter hat', { top: 'winterHat03' }),
      hat('hat with cat ears', { top: 'winterHat04' }),
    ],
    eyes: choices('eyes', 'eyes', {
      open: { eyes: 'default', eyebrows: 'default' },
      'wide open': { eyes: 'surprised', eyebrows: 'default' },
      closed: { eyes: 'closed', eyebrows: 'default' },
      smiling: { eyes: 'happy', eyebrows: 'default' },
      winking: { eyes: 'wink', eyebrows: 'default' },
      angry: { eyes: 'default', eyebrows: 'angry' },
      sad: { eyes: 'default', eyebrows: 'sadConcerned' },
      heart: { eyes: 'hearts', eyebrows: 'default' },
      crying: { eyes: 'cry', eyebrows: 'sadConcerned' },
      dizzy: { eyes: 'xDizzy', eyebrows: 'default' },
      sideways: { eyes: 'side', eyebrows: 'default' },
      rolling: { eyes: 'eyeRoll', eyebrows: 'default' },
    }),
    mouth: choices('mouth', 'mouth', {
      smile: 'twinkle',
      'laughing mouth': 'smile',
      'open mouth': 'default',
      'straight mouth': 'serious',
      frown: 'sad',
      'gritted teeth': 'grimace',
      'tongue out': 'tongue',
      'shouting mouth': 'screamOpen',
      'full cheeks': 'eating',
    }),
    beard: mostly(2, choices('beard', 'facialHair', { none: null, 'short beard': 'beardLight', 'full beard': 'beardMedium', 'long beard': 'beardMajestic', moustache: 'moustacheFancy' })),
    glasses: [
      { say: { glasses: 'none' }, draw: { accessories: null }, weight: 4 },
      { say: { glasses: 'glasses' }, draw: { accessories: 'prescription02' } },
      { say: { glasses: 'round glasses' }, draw: { accessories: 'round' } },
      { say: { glasses: 'sunglasses' }, draw: { accessories: 'wayfarers' }, hides: ['eyes'] },
      { say: { glasses: 'eye patch' }, draw: { accessories: 'eyepatch' }, weight: 0.5 },
    ],
    clothes: choices('clothes', 'clothing', {
      't-shirt': 'shirtCrewNeck',
      'v-neck shirt': 'shirtVNeck',
      'sweater with a white collar': 'collarAndSweater',
      hoodie: 'hoodie',
      blazer: 'blazerAndShirt',
      overalls: 'overall',
    }),
  },
};

const personas = {
  package: 'personas',
  collection: 'personas',
  name: 'personas',
  layout: { scale: 110, translateY: 3 },
  fixed: { nose: 'smallRound' },
  colours: { hair: ['hairColor'], clothes: ['clothingColor'], skin: ['skinColor'] },
  parts: {
    hair: [
      ...choices('hair', 'hair', {
        'short hair': 'fade',
        'short combed hair': 'shortCombover',
        'curly high top': 'curlyHighTop',
        mohawk: 'mohawk',
        'hair at the sides': 'balding',
        bob: 'bobCut',
        'shoulder-length hair': 'long',
        'long straight hair': 'extraLong',
        afro: 'curly',
        pigtails: 'pigtails',
        'curly bun with a pink headband': 'curlyBun',
        'bun with a pink headband': 'straightBun',
        'bald head': 'bald',
      }),
      // Their colours are the style's own.
      { say: { hair: 'hidden', hat: 'cap', hat_color: 'orange' }, draw: { hair: 'cap' }, weight: 0.7 },
      { say: { hair: 'hidden', hat: 'beanie', hat_color: 'red' }, draw: { hair: 'beanie' }, weight: 0.7 },
    ],
    eyes: [
      { say: { eyes: 'open' }, draw: { eyes: 'open' }, weight: 2 },
      { say: { eyes: 'closed' }, draw: { eyes: 'sleep' } },
      { say: { eyes: 'winking' }, draw: { eyes: 'wink' } },
      { say: { eyes: 'smiling' }, draw: { eyes: 'happy' } },
      { say: { eyes: 'open', glasses: 'glasses' }, draw: { eyes: 'glasses' } },
      { say: { eyes: 'hidden', glasses: 'sunglasses' }, draw: { eyes: 'sunglasses' } },
    ],
    mouth: [
      ...choices('mouth', 'mouth', { smile: 'smile', frown: 'frown', 'open mouth': 'surprise', 'big smile': 'bigSmile', smirk: 'smirk', 'pink lips': 'lips' }),
      { say: { mouth: 'pacifier' }, draw: { mouth: 'pacifier' }, weight: 0.5 },
    ],
    beard: mostly(2, choices('beard', 'facialHair', { none: null, 'full beard': 'beardMustache', moustache: 'walrus', goatee: 'goatee' })),
    clothes: choices('clothes', 'body', { 't-shirt': 'squared', 'checkered shirt': 'checkered', 'one-shoulder top': 'small' }),
  },
};

const toonHead = {
  package: 'toon-head',
  collection: 'toonHead',
  name: 'toon head',
  layout: { scale: 100, translateY: 0 },
  fixed: { body: 'body', head: 'head' },
  skins: ['light', 'tan', 'brown'], // the thin line of its smile does not show on dark skin
  colours: { hair: ['hairColor'], clothes: ['clothesColor'], skin: ['skinColor'] },
  parts: {
    hair: choices('hair', 'hair', {
      'short combed hair': { hair: 'sideComed', rearHair: null },
      'short hair': { hair: 'undercut', rearHair: null },
      'spiky hair': { hair: 'spiky', rearHair: null },
      bun: { hair: 'bun', rearHair: null },
      bob: { hair: 'sideComed', rearHair: 'neckHigh' },
      'shoulder-length hair': { hair: 'sideComed', rearHair: 'shoulderHigh' },
      'long wavy hair': { hair: 'sideComed', rearHair: 'longWavy' },
      'long straight hair': { hair: 'sideComed', rearHair: 'longStraight' },
    }),
    eyes: choices('eyes', 'eyes', {
      open: { eyes: 'happy', eyebrows: 'neutral' },
      'wide open': { eyes: 'wide', eyebrows: 'raised' },
      closed: { eyes: 'humble', eyebrows: 'neutral' },
      smiling: { eyes: 'bow', eyebrows: 'neutral' },
      winking: { eyes: 'wink', eyebrows: 'neutral' },
      angry: { eyes: 'happy', eyebrows: 'angry' },
      sad: { eyes: 'happy', eyebrows: 'sad' },
    }),
    mouth: choices('mouth', 'mouth', { smile: 'smile', 'laughing mouth': 'laugh', 'open mouth': 'agape', 'shouting mouth': 'angry', frown: 'sad' }),
    beard: mostly(2, choices('beard', 'beard', { none: null, 'full beard': 'fullBeard', 'long beard': 'longBeard', moustache: 'moustacheTwirl' })),
    clothes: choices('clothes', 'clothes', { 't-shirt': 'tShirt', turtleneck: 'turtleNeck', 'open jacket': 'openJacket', 'collared shirt': 'shirt', 'sleeveless top': 'dress' }),
  },
};

const bigEars = {
  package: 'big-ears',
  collection: 'bigEars',
  name: 'big ears',
  layout: { scale: 95, translateY: -8 },
  fixed: { face: 'variant02', ear: 'variant01', nose: 'variant02', sideburn: 'variant01', frontHair: 'variant12' },
  colours: { hair: ['hairColor'], skin: ['skinColor'] },
  parts: {
    hair: choices('hair', 'hair', {
      'short hair': 'short11',
      'short curly hair': 'short18',
      'spiky hair': 'short12',
      'messy hair': 'short10',
      'flat top': 'short15',
      'bowl cut': 'short14',
      bob: 'long19',
      'two buns': 'long05',
      pigtails: 'long16',
      'medium curly hair': 'long13',
      'long straight hair': 'short09',
    }),
    eyes: choices('eyes', 'eyes', {
      open: 'variant05',
      'wide open': 'variant26',
      closed: 'variant31',
      smiling: 'variant32',
      angry: 'variant01',
      sideways: 'variant09',
      sleepy: 'variant07',
      star: 'variant10',
      'squeezed shut': 'variant12',
      oval: 'variant15',
    }),
    mouth: choices('mouth', 'mouth', {
      smile: 'variant0702',
      'big smile': 'variant0304',
      'laughing mouth': 'variant0103',
      'open mouth': 'variant0105',
      frown: 'variant0705',
      'gritted teeth': 'variant0604',
      smirk: 'variant0707',
      'kissing mouth': 'variant0706',
      'cat smile': 'variant0703',
    }),
    cheeks: mostly(1, choices('cheeks', 'cheek', { none: null, 'rosy cheeks': 'variant06', freckles: 'variant02' })),
  },
};

const dylan = {
  package: 'dylan',
  collection: 'dylan',
  name: 'dylan',
  layout: { scale: 96, translateY: 0 },
  fixed: {},
  colours: { hair: ['hairColor'], skin: ['skinColor'] },
  parts: {
    hair: choices('hair', 'hair', {
      'short hair': 'plain',
      'short wavy hair': 'wavy',
      'short curly hair': 'shortCurls',
      'hair with a middle part': 'parting',
      'spiky hair': 'spiky',
      'flat top': 'flatTop',
      'two buns': 'buns',
      bob: 'bangs',
      'fluffy hair': 'fluffy',
      'shaggy hair': 'shaggy',
      'long straight hair': 'roundBob',
      'long curly hair': 'longCurls',
    }),
    mood: [
      { say: { eyes: 'open', mouth: 'smile' }, draw: { mood: 'happy' } },
      { say: { eyes: 'open', mouth: 'laughing mouth' }, draw: { mood: 'superHappy' } },
      { say: { eyes: 'open', mouth: 'straight mouth' }, draw: { mood: 'neutral' } },
      { say: { eyes: 'open', mouth: 'cat smile' }, draw: { mood: 'hopeful' } },
      { say: { eyes: 'open', mouth: 'wavy mouth' }, draw: { mood: 'confused' } },
      { say: { eyes: 'angry', mouth: 'frown' }, draw: { mood: 'angry' } },
      { say: { eyes: 'sad', mouth: 'frown' }, draw: { mood: 'sad' } },
    ],
    beard: mostly(3, choices('beard', 'facialHair', { none: null, stubble: 'default' })),
  },
};

export const styles = Object.fromEntries([avataaars, personas, toonHead, bigEars, dylan].map((style) => [style.package, { skins: Object.keys(skinColours), ...style }]));

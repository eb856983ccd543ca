/**
 * The page's strings. A string is written in English where it is used, t('Step {step} of {steps}', {step, steps}), and looked up by that in
 * the table of the language (strings/). An entry that depends on how many there are is an object of the language's plural forms and
 * chosen by {count}. Modules wait until the table is there, so that t() can be called anywhere.
 */
const kKey = 'tessera-language';

/** Every language, under its own name. */
export const languages = { en: { name: 'English', dir: 'ltr' }, de: { name: 'Deutsch', dir: 'ltr' }, ar: { name: 'العربية', dir: 'rtl' } };

function stored() {
  try {
    return localStorage.getItem(kKey);
  } catch {
    return null; // a browser that keeps nothing
  }
}

/** What was chosen, else the first of the browser's languages that there is. */
function chosen() {
  const wanted = [stored(), ...(navigator.languages ?? [])].filter(Boolean).map((tag) => tag.toLowerCase().split('-')[0]);
  return wanted.find((name) => Object.hasOwn(languages, name)) ?? 'en';
}

export const language = chosen();
const { default: table } = await import(`./strings/${language}.js`);
const plurals = new Intl.PluralRules(language);
/** For Intl: the language with the digits that pictures' sizes have. */
export const locale = language === 'ar' ? 'ar-u-nu-latn' : undefined;
export const rightToLeft = languages[language].dir === 'rtl';
Object.assign(document.documentElement, { lang: language, dir: languages[language].dir });

/** Words of another direction do not turn the sentence around. */
const isolated = (value) => (rightToLeft && typeof value === 'string' ? `\u2068${value}\u2069` : value);

/** The string in the page's language, with its values in place. */
export function t(text, values = {}) {
  const entry = table[text] ?? text;
  const form = typeof entry === 'string' ? entry : entry[plurals.select(values.count)] ?? entry.other;
  return form.replaceAll(/\{(\w+)\}/g, (whole, name) => (name in values ? isolated(values[name]) : whole));
}

/** Width and height, in this order in any language. */
export const sizeWords = (width, height) => (rightToLeft ? `\u2066${width} × ${height}\u2069` : `${width} × ${height}`);

const kAttributes = ['aria-label', 'title', 'aria-roledescription'];

/** Puts the strings of the page's own document, which is written in English, into the language. */
export function placeWords(root = document) {
  const walker = document.createTreeWalker(root.body, NodeFilter.SHOW_ELEMENT);
  for (let element = walker.currentNode; element; element = walker.nextNode()) {
    if (element.closest('script, [translate="no"]')) continue;
    for (const name of kAttributes) if (element.hasAttribute(name)) element.setAttribute(name, t(element.getAttribute(name)));
    for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE && /[a-z]/i.test(node.data)) node.data = node.data.replace(node.data.trim(), t(node.data.trim()));
  }
}

/** Keeps the choice; the page is then to be loaded again. */
export const keepLanguage = (name) => localStorage.setItem(kKey, name);

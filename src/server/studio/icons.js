/** The studio's own icons: strokes on a 24 x 24 grid, drawn as inline SVG in the colour of the text around them. */
const SVG = 'http://www.w3.org/2000/svg';

const shapes = {
  generate: ['M12 3v4M12 17v4M3 12h4M17 12h4', 'M6 6l2 2M16 16l2 2M18 6l-2 2M8 16l-2 2', 'M10.5 10.5h3v3h-3z'],
  change: ['M4 4h16v16H4z', 'M9.5 9.5h5v5h-5z', 'M9.5 14.5l5-5'],
  keep: ['M9 9h6v6H9z', 'M4 7V4h3M17 4h3v3M20 17v3h-3M7 20H4v-3', 'M4 11v2M20 11v2M11 4h2M11 20h2'],
  extend: ['M8 6h8v12H8z', 'M5 9l-3 3 3 3M19 9l3 3-3 3'],
  wide: ['M2.5 7.5h19v9h-19z', 'M8 7.5v9M16 7.5v9', 'M12 4.5v15'],
  vary: ['M3.5 3.5h7v7h-7zM13.5 3.5h7v7h-7zM3.5 13.5h7v7h-7z', 'M17 14v6M14 17h6'],
  brush: ['M14.5 4.5l5 5-8.2 8.2-5-5z', 'M6.3 12.7c-2 .7-2.3 2.3-2.3 4.300 0 1.300-.5 2-1 2.500 2.800.800 6.800.500 8.300-1.800'],
  eraser: ['M13.500 4.500l6.500 6.500-8 8H8.500l-4.500-4.500z', 'M9 9l6.500 6.500', 'M12 19h8'],
  rectangle: ['M4 5h3M10 5h4M17 5h3v2M20 10v4M20 17v2h-3M14 19h-4M7 19H4v-2M4 14v-4M4 7V5'],
  lasso: ['M12 4.500c4.700 0 8.500 2.500 8.500 5.700s-3.800 5.700-8.500 5.700c-1.700 0-3.300-.300-4.600-.900-2.400-1-3.900-2.800-3.900-4.800C3.500 7 7.300 4.500 12 4.500z', 'M7.500 15c-1.400.400-2 1.200-1.700 2.200.300.900 1.400 1.200 1.200 2.800'],
  invert: ['M4 4h16v16H4z', 'M4 20L20 4M12 20h8V8z', 'M14 20l6-6M18 20l2-2'],
  clear: ['M5 7h14M10 7V4.500h4V7M7 7l.800 12.500h8.400L17 7'],
  inspect: ['M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.300 15.300L20.500 20.500', 'M8.500 8.500h4v4h-4z'],
  hand: ['M8 12V6.500a1.500 1.500 0 0 1 3 0V11M11 10.500v-5a1.500 1.500 0 0 1 3 0V11M14 11V7a1.500 1.500 0 0 1 3 0v7c0 4-2 6.500-5.500 6.500-3 0-4.300-1.500-5.500-3.800l-1.800-3.400c-.700-1.500 1-2.500 2-1.400L8 13.500'],
  undo: ['M8 5L4 9l4 4', 'M4 9h10a5.500 5.500 0 0 1 0 11h-3'],
  redo: ['M16 5l4 4-4 4', 'M20 9H10a5.500 5.500 0 0 0 0 11h3'],
  compare: ['M12 3v18', 'M9 6H4v12h5', 'M15 6h5v12h-5', 'M15 10l3-4M15 15l5-6'],
  fit: ['M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5', 'M9 9h6v6H9z'],
  plus: ['M12 5v14M5 12h14'],
  minus: ['M5 12h14'],
  open: ['M4 5h16v14H4z', 'M4 16l4.500-4.500 3.500 3.500 3-3 5 5', 'M15.500 8.500h.01'],
  paste: ['M8 5H5.500v15h13V5H16', 'M8.500 3.500h7v3h-7z', 'M9 11h6M9 15h4'],
  download: ['M12 4v11M7.500 11L12 15.500 16.500 11', 'M4.500 19.500h15'],
  copy: ['M8.500 8.500h11v11h-11z', 'M15.500 8.500v-4h-11v11h4'],
  terminal: ['M3.500 5h17v14h-17z', 'M7 9.500l3 2.500-3 2.500M12.500 15h4'],
  link: ['M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300L11.800 6.500', 'M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1.200-1.200'],
  again: ['M19.500 12a7.500 7.500 0 1 1-2.200-5.300L19.500 9', 'M19.500 4.500V9H15'],
  dice: ['M4.500 4.500h15v15h-15z', 'M8.500 8.500h.01M15.500 8.500h.01M12 12h.01M8.500 15.500h.01M15.500 15.500h.01'],
  restore: ['M4.500 12a7.500 7.500 0 1 0 2.200-5.300L4.500 9', 'M4.500 4.500V9H9', 'M12 8v4.500l3 2'],
  use: ['M4 12.500l5 5L20 6.500'],
  play: ['M8 5.500v13l10.500-6.500z'],
  pause: ['M8.500 5.500v13M15.500 5.500v13'],
  stop: ['M6.500 6.500h11v11h-11z'],
  close: ['M6 6l12 12M18 6L6 18'],
  grid: ['M4 4h16v16H4z', 'M4 12h16M12 4v16'],
  sheet: ['M4 4h4v4H4zM10 4h4v4h-4zM16 4h4v4h-4zM4 10h4v4H4zM10 10h4v4h-4zM16 10h4v4h-4zM4 16h4v4H4zM10 16h4v4h-4zM16 16h4v4h-4z'],
  keyboard: ['M2.500 6.500h19v11h-19z', 'M6 10h.01M9 10h.01M12 10h.01M15 10h.01M18 10h.01M6 14h.01M18 14h.01M9 14h6'],
  sun: ['M12 8.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7z', 'M12 2.500v2.500M12 19v2.500M2.500 12H5M19 12h2.500M5.300 5.300L7 7M17 17l1.700 1.700M18.700 5.300L17 7M7 17l-1.700 1.700'],
  moon: ['M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z'],
  contrast: ['M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M12 4v16M15 5v14M18 7.500v9'],
  warn: ['M12 4.500L21 19.500H3z', 'M12 10v4.500M12 17h.01'],
  info: ['M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M12 11v5M12 8h.01'],
  trash: ['M5 7h14M10 7V4.500h4V7M7 7l.800 12.500h8.400L17 7'],
  lock: ['M6 11h12v9H6z', 'M8.500 11V8a3.500 3.500 0 0 1 7 0v3'],
  unlock: ['M6 11h12v9H6z', 'M8.500 11V7.500a3.500 3.500 0 0 1 6.700-1.400'],
  split: ['M4 5h16v14H4z', 'M12 3v18', 'M9.500 12h-3M14.500 12h3'],
  crisp: ['M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4z', 'M17 14a3 3 0 1 0 0 6 3 3 0 0 0 0-6z'],
  area: ['M8 3v13h13', 'M3 8h13v13'],
  surprise: ['M4 4h16v16H4z', 'M9 9h.01M15 9h.01M9 15h.01', 'M13.500 13.500h3v3h-3z'],
  guess: ['M12 4c4.500 0 8 3 8 7 0 3-2 5.500-5 6.500v2.500H9v-2.500c-3-1-5-3.500-5-6.500 0-4 3.500-7 8-7z', 'M9.500 11.500l2 2 3.500-4'],
  film: ['M4 5h16v14H4z', 'M8 5v14M16 5v14M4 9.500h4M4 14.500h4M16 9.500h4M16 14.500h4'],
  star: ['M12 3.500l2.600 5.500 6 .800-4.400 4.200 1.100 6-5.300-2.900-5.300 2.900 1.100-6-4.400-4.200 6-.800z'],
  search: ['M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.300 15.300L20.500 20.500'],
  follow: ['M2.500 12S6 6 12 6s9.500 6 9.500 6-3.500 6-9.500 6-9.500-6-9.500-6z', 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z'],
  name: ['M4 20l1-4.500L16.500 4l3.500 3.500L8.500 19z', 'M14 6.500l3.500 3.500'],
  upload: ['M12 15.500V4M7.500 8.500L12 4l4.500 4.500', 'M4.500 19.500h15'],
  xy: ['M9 9h5v5H9zM16 9h4v5h-4zM9 16h5v4H9zM16 16h4v4h-4z', 'M4 4v16M4 4h16', 'M6.500 4h.01'],
  language: ['M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17z', 'M3.500 12h17M12 3.500c5 5 5 12 0 17M12 3.500c-5 5-5 12 0 17'],
  bell: ['M6 16.500V11a6 6 0 0 1 12 0v5.500l1.500 1.500h-15z', 'M10 20.500h4'],
  pick: ['M4 20l1-3.500 8.500-8.500 2.500 2.500-8.500 8.500z', 'M12 6.500l5.500 5.500M15.500 10l3.300-3.300a2 2 0 0 0-2.800-2.800L12.700 7.200'],
  codes: ['M3.500 3.500h5v5h-5zM3.500 11.500h5v5h-5zM11.500 3.500h5v5h-5z', 'M20.500 10.500l-7 7-2.500 3 3-2.500 7-7z'],
  up: ['M6 14.500l6-6 6 6'],
  down: ['M6 9.500l6 6 6-6'],
};

/** An SVG element of this name. Throws where there is none. */
export function icon(name) {
  if (!shapes[name]) throw new Error(`icon '${name}': expected one of ${Object.keys(shapes).join(', ')}`);
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  svg.dataset.iconName = name;
  for (const d of shapes[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/** Puts an icon before the content of every element below root that asks for one with data-icon. */
export function placeIcons(root = document) {
  for (const element of root.querySelectorAll('[data-icon]')) element.prepend(icon(element.dataset.icon));
}

/** The colours that may be drawn and their names in captions: the same in every style, far enough apart to be told from each other. */
export const hairColours = {
  black: '1f1d24',
  brown: '5e351d',
  blond: 'f0cd52',
  red: 'c4461f',
  gray: '9a9da1',
  white: 'f7f4ee',
  pink: 'f08cb4',
  blue: '4a7fd6',
};
export const skinColours = { light: 'f5cfae', tan: 'd39f72', brown: 'ae7044', dark: '7d4b30' };
export const clothesColours = {
  red: 'd93636',
  orange: 'f08a24',
  yellow: 'f5d020',
  green: '3fa34d',
  blue: '3f77d9',
  purple: '8148b8',
  pink: 'f27fb2',
  white: 'f8f8f8',
  black: '2a2a2e',
};
export const backgroundColours = {
  'light blue': 'cfe3f7',
  'light pink': 'f8d9e1',
  'light yellow': 'faf0c3',
  'light green': 'd3edd0',
  lavender: 'ddd4f5',
  'light gray': 'e4e4e4',
};

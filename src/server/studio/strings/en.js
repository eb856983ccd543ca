/** English stands where it is used; here is what depends on how many there are. */
export default {
  '{count} cells': { one: '{count} cell', other: '{count} cells' },
  '{count} cells are painted': { one: '{count} cell is painted', other: '{count} cells are painted' },
  '{count} jobs and their pictures go from this browser.': { one: 'One job and its pictures go from this browser.', other: '{count} jobs and their pictures go from this browser.' },
  '{count} jobs were taken in.': { one: 'One job was taken in.', other: '{count} jobs were taken in.' },
  '{count} pictures': { one: 'One picture', other: '{count} pictures' },
  '{count} were here already.': { one: '{count} was here already.', other: '{count} were here already.' },
  '{count} windows': { one: 'one window', other: '{count} windows' },
  '{title}: done, {count} pictures': { one: '{title}: done, one picture', other: '{title}: done, {count} pictures' },
  'Code {code} is set, {count} cells around it were filled again': { one: 'Code {code} is set, {count} cell around it was filled again', other: 'Code {code} is set, {count} cells around it were filled again' },
  'Extend it {count} ways': { one: 'Extend the picture', other: 'Extend it {count} ways' },
  'Fill {count} canvases': { one: 'Fill the canvas', other: 'Fill {count} canvases' },
  'Generate {count} pictures': { one: 'Generate a picture', other: 'Generate {count} pictures' },
  'Imagine the rest {count} times': { one: 'Imagine the rest', other: 'Imagine the rest {count} times' },
  'Join the pieces {count} ways': { one: 'Join the pieces', other: 'Join the pieces {count} ways' },
  'Make {count} variations': { one: 'Make a variation', other: 'Make {count} variations' },
};

/** The theme's colours as a canvas needs them: resolved, and looked up again when the theme changes. */
const names = ['paper', 'panel', 'raised', 'ink', 'muted', 'line', 'line-strong', 'accent', 'accent-ink', 'accent-soft', 'ember', 'mask', 'tile', 'tile-edge'];
let colours = null;

export function palette() {
  if (colours) return colours;
  const probe = document.createElement('i');
  probe.hidden = true;
  document.body.append(probe);
  colours = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    colours[name.replace(/-(\w)/g, (_, letter) => letter.toUpperCase())] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

export function forgetPalette() {
  colours = null;
}

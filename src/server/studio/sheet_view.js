/** All results of a job side by side, drawn live while they are filled; one is chosen by a click or Enter. */
import { store } from './store.js';
import { el } from './dom.js';
import { resultScene } from './scene.js';
import { paintScene } from './painting.js';
import { select } from './job_runner.js';
import { rightToLeft, t } from './words.js';

const kFullRows = 1.2; // how much smaller pictures may be for the sake of rows without a gap

/** Columns that make the pictures of the sheet largest in a box; full rows are preferred. */
export function bestColumns(count, ratio, width, height, gap = 12) {
  let best = { columns: 1, side: 0, worth: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const side = Math.min((width - gap * (columns - 1)) / columns, ((height - gap * (rows - 1)) / rows) * ratio);
    const worth = count % columns === 0 ? side * kFullRows : side;
    if (worth > best.worth) best = { columns, side, worth };
  }
  return best;
}

function paintResult(canvas, job, k, width, ratio) {
  const scene = resultScene(job, k);
  const pixels = Math.max(1, Math.round(width * devicePixelRatio));
  if (canvas.width !== pixels) {
    canvas.width = pixels;
    canvas.height = Math.max(1, Math.round(pixels / ratio));
  }
  const context = canvas.getContext('2d');
  const scale = canvas.width / scene.extent.width;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  paintScene(context, scene, { left: 0, top: 0, right: scene.extent.width, bottom: scene.extent.height }, scale, { alone: true });
}

export function startSheet(sheet) {
  let built = null; // the job id and count that the buttons were made for
  let scheduled = false;

  const draw = () => {
    scheduled = false;
    const { job, sheet: wanted, shown } = store.get();
    const visible = wanted && shown === 'result' && Boolean(job) && job.count > 1;
    sheet.hidden = !visible;
    if (!visible) { built = null; return; }
    const ratio = job.width / job.height;
    const box = sheet.getBoundingClientRect();
    const { columns, side } = bestColumns(job.count, ratio, box.width - 32, box.height - 28);
    const width = Math.max(44, Math.min(side, 360 * Math.max(1, ratio)));
    if (built?.request !== job.request || built.count !== job.count) {
      built = { request: job.request, count: job.count };
      sheet.replaceChildren(el('ol', { 'aria-label': t('{title}: choose one', { title: job.title }) }, Array.from({ length: job.count }, (_, k) =>
        el('li', {}, el('button', { type: 'button', 'aria-label': t('Result {number} of {count}', { number: k + 1, count: job.count }), on: { click: () => { select(k); document.getElementById('stage').focus(); } } }, el('canvas', { 'aria-hidden': 'true' }), el('span', { class: 'badge', 'aria-hidden': 'true' }, String(k + 1)))))));
      sheet.firstElementChild.addEventListener('keydown', moveFocus);
    }
    const list = sheet.firstElementChild;
    list.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
    list.dataset.columns = columns;
    [...list.querySelectorAll('button')].forEach((button, k) => {
      button.setAttribute('aria-pressed', String(job.phase === 'done' && k === job.selected));
      button.style.width = `${width}px`;
      button.style.height = `${width / ratio}px`;
      paintResult(button.firstElementChild, job, k, width, ratio);
    });
  };

  const schedule = () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(draw);
  };
  store.on(['job', 'sheet', 'shown', 'theme'], schedule);
  new ResizeObserver(schedule).observe(sheet.parentElement);
}

function moveFocus(event) {
  const buttons = [...event.currentTarget.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement);
  const columns = Number(event.currentTarget.dataset.columns);
  const step = { ArrowRight: rightToLeft ? -1 : 1, ArrowLeft: rightToLeft ? 1 : -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (at < 0 || !step || !buttons[at + step]) return;
  event.preventDefault();
  buttons[at + step].focus();
}

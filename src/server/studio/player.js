/** Progress while a job runs; afterwards its steps played back, in the order in which cells were filled. */
import { store } from './store.js';
import { el, iconButton } from './dom.js';
import { icon } from './icons.js';
import { isBusy } from './job_runner.js';

const kPlaySeconds = 5; // a whole play-back
let playing = null;

export function stopPlaying() {
  cancelAnimationFrame(playing?.handle);
  playing = null;
}

function setStep(step) {
  const { job } = store.get();
  if (!job?.span) return;
  const { first, last } = job.span;
  store.set({ job: { ...job, playStep: step >= last ? null : Math.max(first, step) }, shown: 'result' });
}

function play() {
  const { job } = store.get();
  const { first, last } = job.span;
  const from = job.playStep ?? first;
  const begin = performance.now();
  const tick = (now) => {
    const step = Math.round(from + ((now - begin) / 1000) * ((last - first) / kPlaySeconds));
    setStep(step);
    if (step >= last) {
      stopPlaying();
      store.set({ job: { ...store.get().job } });
    } else playing.handle = requestAnimationFrame(tick);
  };
  playing = { handle: requestAnimationFrame(tick) };
  setStep(from);
}

export function togglePlaying() {
  const { job } = store.get();
  if (job?.phase !== 'done' || !job.span) return;
  if (playing) {
    stopPlaying();
    store.set({ job: { ...job } });
  } else play();
}

export function stepBy(steps) {
  const { job } = store.get();
  if (job?.phase !== 'done' || !job.span) return;
  stopPlaying();
  setStep((job.playStep ?? job.span.last) + steps);
}

export function timeWords(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return '';
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)}\u00a0s`;
  return `${Math.round(seconds / 60)}\u00a0min`;
}

export function progressWords(job) {
  if (job.phase === 'sending') return 'Sending';
  if (job.phase === 'queued') return job.position > 0 ? `Waiting, ${job.position} before this` : 'Waiting for its turn';
  const { step = 0, steps = 0, eta_seconds: eta } = job.progress ?? {};
  if (!steps) return 'Starting';
  return `Step ${step} of ${steps}${Number.isFinite(eta) && eta >= 0.5 ? `, ${timeWords(eta)} left` : ''}`;
}

function running(job) {
  const { step = 0, steps = 0 } = job.progress ?? {};
  const bar = el('span', {});
  bar.style.transform = `scaleX(${steps ? step / steps : 0})`;
  return [
    el('div', { class: 'meter', role: 'progressbar', 'aria-label': 'Progress of the job', 'aria-valuemin': 0, 'aria-valuemax': steps || 1, 'aria-valuenow': step }, bar),
    el('span', { class: 'step number' }, progressWords(job)),
  ];
}

export function startPlayer(player) {
  let mode = '';
  let scrubber, label, playButton;

  store.on(['job'], (state) => {
    const { job } = state;
    player.hidden = !job || !(isBusy(job) || (job.phase === 'done' && job.span));
    if (player.hidden) { mode = ''; return; }
    if (isBusy(job)) {
      mode = 'running';
      player.replaceChildren(...running(job));
      return;
    }
    const { first, last } = job.span;
    if (mode !== job.id) {
      mode = job.id;
      playButton = iconButton('play', 'Play the order of un-masking', togglePlaying);
      scrubber = el('input', { type: 'range', min: first, max: last, step: 1, 'aria-label': 'Step of the un-masking', on: { input: () => { stopPlaying(); setStep(Number(scrubber.value)); } } });
      label = el('span', { class: 'step number' });
      player.replaceChildren(playButton, scrubber, label);
    }
    const step = job.playStep ?? last;
    scrubber.value = step;
    scrubber.setAttribute('aria-valuetext', `Step ${step} of ${last}`);
    label.textContent = `Step ${step} of ${last}`;
    const face = playing ? 'pause' : 'play';
    if (playButton.dataset.face !== face) playButton.replaceChildren(icon(face));
    playButton.dataset.face = face;
    playButton.setAttribute('aria-label', playing ? 'Pause' : 'Play the order of un-masking');
  });
}

/** Progress while a job runs; afterwards its steps played back, in the order in which cells were filled. */
import { store } from './store.js';
import * as api from './api.js';
import { announce, complain } from './announce.js';
import { el, button, iconButton, replaceKeepingFocus } from './dom.js';
import { download } from './export.js';
import { icon } from './icons.js';
import { isBusy } from './job_runner.js';
import { t } from './words.js';

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
  if (seconds < 90) return t('{seconds}\u00a0s', { seconds: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) });
  return t('{minutes}\u00a0min', { minutes: Math.round(seconds / 60) });
}

export function progressWords(job) {
  if (job.phase === 'sending') return t('Sending');
  if (job.phase === 'queued') return job.position > 0 ? t('Waiting, {position} before this', { position: job.position }) : t('Waiting for its turn');
  const { step = 0, steps = 0, eta_seconds: eta } = job.progress ?? {};
  if (!steps) return t('Starting');
  return Number.isFinite(eta) && eta >= 0.5 ? t('Step {step} of {steps}, {time} left', { step, steps, time: timeWords(eta) }) : t('Step {step} of {steps}', { step, steps });
}

export function toggleGuess() {
  const guess = !store.get().guess;
  store.set({ guess, job: { ...store.get().job } });
  announce(guess ? t('The best guess of the model of the whole picture') : t('What is filled so far'));
}

/** How the result on the stage was filled, as a picture that moves. */
export async function saveUnmasking() {
  const { job } = store.get();
  if (job?.phase !== 'done' || !job.span) return;
  try {
    const blob = await api.unmasking(job.id, job.selected);
    const url = URL.createObjectURL(blob);
    download({ url, name: `${job.task}-${job.request.seed}-${job.selected + 1}-unmasking.webp` });
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain(error.status === 404 ? new Error(t('The server no longer has this job: make it again, then save it.')) : error);
  }
}

function running(job) {
  const { step = 0, steps = 0 } = job.progress ?? {};
  const bar = el('span', {});
  bar.style.transform = `scaleX(${steps ? step / steps : 0})`;
  return [
    el('div', { class: 'meter', role: 'progressbar', 'aria-label': t('Progress of the job'), 'aria-valuemin': 0, 'aria-valuemax': steps || 1, 'aria-valuenow': step }, bar),
    el('span', { class: 'step number' }, progressWords(job)),
    job.guesses?.length ? button(t('Best guess'), toggleGuess, { icon: 'guess', class: 'small', 'aria-pressed': String(store.get().guess), 'data-key': 'guess', title: t('The whole picture as the model would finish it at once (N)') }) : null,
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
      replaceKeepingFocus(player, ...running(job));
      return;
    }
    const { first, last } = job.span;
    if (mode !== job.id) {
      mode = job.id;
      playButton = iconButton('play', t('Play the order of un-masking'), togglePlaying);
      scrubber = el('input', { type: 'range', min: first, max: last, step: 1, 'aria-label': t('Step of the un-masking'), on: { input: () => { stopPlaying(); setStep(Number(scrubber.value)); } } });
      label = el('span', { class: 'step number' });
      player.replaceChildren(playButton, scrubber, label, iconButton('film', t('Save the un-masking as WebP'), saveUnmasking, { class: 'small', 'data-key': 'film' }));
    }
    const step = job.playStep ?? last;
    scrubber.value = step;
    scrubber.setAttribute('aria-valuetext', t('Step {step} of {steps}', { step, steps: last }));
    label.textContent = t('Step {step} of {steps}', { step, steps: last });
    const face = playing ? 'pause' : 'play';
    if (playButton.dataset.face !== face) playButton.replaceChildren(icon(face));
    playButton.dataset.face = face;
    playButton.setAttribute('aria-label', playing ? t('Pause') : t('Play the order of un-masking'));
  });
}

/** Puts the page together, asks the server what it can do, opens the job of a link. */
import * as api from './api.js';
import { store } from './store.js';
import { el, button, iconButton } from './dom.js';
import { placeIcons } from './icons.js';
import { emptyEdit } from './edits.js';
import { announce, complain, toast } from './announce.js';
import { modelOf } from './documents.js';
import { adopt } from './adopt.js';
import { drawUpForWords, startDrawer } from './drawer.js';
import { startCard } from './first_view.js';
import { switchModel } from './model_switch.js';
import { learnCard } from './model_card.js';
import { resume, startSession } from './session.js';
import { lacksPicture } from './tasks/index.js';
import { choosePictures, startImports } from './imports.js';
import { fillKeysDialog, startKeyboard } from './keyboard.js';
import { startCellPanel } from './cell_panel.js';
import { startCodeBrush } from './code_brush.js';
import { entryOfJob, remember, startHistory } from './history.js';
import { startHistoryPanel } from './history_panel.js';
import { jobOfFragment } from './job_link.js';
import { startLanguage } from './language.js';
import { runRequest, whenDone } from './job_runner.js';
import { startRail, startTabs } from './navigation.js';
import { startPlayer, stopPlaying } from './player.js';
import { startNotify } from './notify.js';
import { startPointer } from './pointer.js';
import { startKeptQueue } from './queue_kept.js';
import { startQueuePanel } from './queue_panel.js';
import { restore } from './restore.js';
import { startSheet } from './sheet_view.js';
import { repaint, startStage } from './stage.js';
import { startStageNotes } from './stage_notes.js';
import { offlineNotice, runNow, startTaskPanel } from './task_panel.js';
import { startTheme } from './theme.js';
import { startToolbar } from './toolbar.js';
import { startTray } from './tray.js';
import { hasWorkspace, startWorkspace } from './workspace.js';
import { startWorkspacePanel } from './workspace_panel.js';
import { startTitle } from './window_title.js';
import { startGrid } from './xy_grid.js';
import { startGridPanel } from './xy_panel.js';
import { placeWords, sizeWords, t } from './words.js';

const at = (id) => document.getElementById(id);
store.set({ edit: emptyEdit });

placeWords();
placeIcons();
startLanguage(at('language'));
startStage(at('stage'));
startPointer(at('stage'));
startToolbar(at('tools'), at('view-buttons'), at('blend'));
startStageNotes({ stage: at('stage'), empty: at('empty'), shown: at('shown'), label: at('cell-label') });
startSheet(at('sheet'));
startPlayer(at('player'));
startTray(at('dock'), at('tray'));
startRail(at('tasks'));
startTabs(at('tabs'));
startDrawer(at('side'), at('tabs'), at('drawer'));
startTaskPanel(at('panel-task'), at('run-bar'));
startCellPanel(at('panel-cell'));
startCodeBrush();
const endHistoryPanel = startHistoryPanel(at('panel-history'));
startImports(at('drop-hint'), at('file'));
startKeyboard();
startTitle();
startQueuePanel(at('queue'));
startGrid();
startGridPanel(at('xy'));
startNotify();
fillKeysDialog(at('keys-dialog'));
startTheme(at('theme'), () => { store.set({ theme: {} }); repaint(); });
startCard(at('about'));
at('open').addEventListener('click', choosePictures);
at('keys').addEventListener('click', () => at('keys-dialog').showModal());

// A finished job goes into the history; another one on the stage ends the play-back of the last.
let lastRequest = null;
store.on(['job'], ({ job }) => {
  if (job?.request !== lastRequest) stopPlaying();
  lastRequest = job?.request;
});

store.on(['shown'], ({ shown }) => { if (shown === 'picture') stopPlaying(); });

// The server's key, where it asks for one.
api.onKeyNeeded((wrong) => new Promise((resolve) => {
  const dialog = at('key-dialog');
  const input = el('input', { class: 'input', type: 'password', id: 'api-key', autocomplete: 'current-password', required: true, autofocus: true });
  const form = el('form', { method: 'dialog', class: 'fields' },
    el('header', {}, el('h2', { id: 'key-title' }, t('This server wants a key')), iconButton('close', t('Close'), () => dialog.close(''))),
    el('div', { class: 'field' }, el('label', { for: 'api-key' }, wrong ? t('That key was not right. Try another.') : t('Whoever started the server has it: the file given with --api-key-file.')), input),
    button(t('Go on'), () => {}, { class: 'primary', type: 'submit' }));
  form.addEventListener('submit', () => dialog.close(input.value));
  dialog.replaceChildren(form);
  dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
  dialog.returnValue = '';
  dialog.showModal();
}));

function showModels({ capabilities, model }) {
  const select = at('model');
  if (!capabilities) return;
  select.replaceChildren(...capabilities.models.map(({ name }) => el('option', { value: name }, name)));
  select.value = model;
  const chosen = modelOf(store.get());
  at('model-facts').textContent = chosen ? t('{size} pixels · {grid} cells · {codes} codes', { size: sizeWords(chosen.width, chosen.height), grid: sizeWords(chosen.grid[0], chosen.grid[1]), codes: chosen.codebook_size }) : '';
}
store.on(['capabilities', 'model'], showModels);
at('model').addEventListener('change', () => switchModel(at('model').value));
store.on(['model', 'capabilities'], ({ model, capabilities }) => { if (capabilities) learnCard(model); });

whenDone((job) => { if (!job.cell) remember(entryOfJob(job)); }); // a cell of a grid, when it is looked at
// A task that waits for a picture takes the chosen result.
whenDone((job) => {
  const state = store.get();
  if (job.task !== 'fill' && job.request === state.job?.request && lacksPicture(state)) adopt(job.selected);
});

async function openLink() {
  const job = await jobOfFragment(location.hash);
  if (!job) return;
  if (job.task === 'fill') {
    toast(t('This link holds an edit of single codes.'), { action: { label: t('Run it'), run: () => runRequest(job.request, { task: 'fill', title: t('Cell'), count: 1, width: job.width, height: job.height, base: null }) } });
    return;
  }
  await restore(job);
  toast(t('The link is set up as it was made.'), { action: { label: t('Run it'), run: runNow } });
}

const historyLoaded = startHistory();
let begun = false;

async function connect() {
  try {
    const capabilities = await api.capabilities();
    store.set({ capabilities, model: capabilities.default_model ?? capabilities.models[0]?.name ?? '' });
    at('panel-task').querySelector('.notice')?.remove();
    if (!begun) await begin();
  } catch (error) {
    at('panel-task').prepend(offlineNotice(error.message, () => { at('panel-task').querySelector('.notice')?.remove(); connect(); }));
    announce(error.message);
  }
}

/** The work that was under way, then what a link asks for. */
async function begin() {
  begun = true;
  if (hasWorkspace(store.get())) {
    endHistoryPanel();
    startWorkspacePanel(at('panel-history'));
  }
  await historyLoaded;
  const resumed = await resume().catch(() => false); // a record of another version, or a picture that can no longer be read
  if (!resumed) drawUpForWords(modelOf(store.get()));
  startSession();
  startKeptQueue();
  await openLink().catch(complain);
  startWorkspace();
  document.documentElement.dataset.ready = 'true';
}

window.addEventListener('hashchange', () => openLink().catch(complain));
connect();

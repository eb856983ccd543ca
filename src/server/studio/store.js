/**
 * One observable state for the page. Values are replaced, never changed in place; subscribers hear once per turn of the
 * event loop, with the names of what was set.
 */
export function createStore(initial) {
  let state = { ...initial };
  const subscribers = new Set();
  let changed = new Set();

  function notify() {
    const names = changed;
    changed = new Set();
    for (const subscriber of subscribers) subscriber(state, names);
  }

  return {
    get: () => state,
    set(patch) {
      state = { ...state, ...patch };
      if (changed.size === 0) queueMicrotask(notify);
      for (const name of Object.keys(patch)) changed.add(name);
    },
    /** Calls back when one of the names was set; with no names, always. Returns a function that ends it. */
    on(names, callback) {
      const subscriber = (now, set) => {
        if (names.length === 0 || names.some((name) => set.has(name))) callback(now, set);
      };
      subscribers.add(subscriber);
      return () => subscribers.delete(subscriber);
    },
  };
}

export const store = createStore({
  capabilities: null, // what the server can do, once it has answered
  model: '', // name of the chosen model
  task: 'generate',
  panel: 'task', // task | cell | history
  drawer: false, // on a phone: the panel is drawn up over the picture
  tool: 'brush', // area | brush | eraser | rectangle | lasso | inspect | codes | pick | hand
  brush: 2, // cells across
  blend: 0, // 0: the picture, 1: its codes
  grid: false, // cell borders are drawn
  crisp: false, // pixels are shown as squares
  guess: false, // while a job runs: the model's best guess of the whole picture
  compare: false, // the original is shown while held
  split: null, // 0 to 1: the original lies left of this part of the picture
  hover: null, // {y, x} of the cell under the pointer
  cursor: { y: 0, x: 0, visible: false }, // the keyboard's cell
  edit: null, // the immutable edit (edits.js)
  options: {}, // sampling options the user set, by name; absent: the model's default
  taskOptions: {}, // by task, by name
  form: null, // replaced when the task's form is to be drawn anew
  card: null, // replaced when a model's card arrived
  theme: null, // replaced when the colours changed
  seedUsed: null, // of the last run
  ended: null, // how the last run ended: {phase, error, request} (job_runner.js)
  job: null, // the job on the stage (job_runner.js)
  live: null, // the job that runs; the stage may show another
  shown: 'picture', // picture | result: which of the two the stage shows
  sheet: false, // all results of the job side by side
  surprise: null, // how unlikely each cell of the picture is (surprise.js)
  code: null, // what the brush of codes paints with
  codebook: null, // replaced when the colours of a model's codes are known
  inspect: null, // what the cell panel shows
  queue: { waiting: [], current: null, held: '' }, // what waits for its turn in the page (queue.js)
  xy: null, // a grid of two options (xy_grid.js)
  history: [], // newest first
  shelf: { jobs: [], next: null, total: 0, words: '', starred: false, phase: 'new', error: '' }, // the server's jobs (workspace.js)
});

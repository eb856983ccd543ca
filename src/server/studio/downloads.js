/** The picture on the stage as a file: a result, or the picture under edit; where it is a box of a photograph, the photograph with it. */
import { store } from './store.js';
import { download } from './export.js';
import { filledCells } from './job_frames.js';
import { wholePicture, withTouched } from './work_area.js';
import { withTextOf } from './png_text.js';
import { announce } from './announce.js';
import { t } from './words.js';

/** recipe: a PNG whose text goes along. */
async function downloadCanvas(canvas, name, recipe = null) {
  const plain = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const blob = recipe ? await withTextOf(recipe, plain) : plain;
  const url = URL.createObjectURL(blob);
  download({ url, name });
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function downloadShown() {
  const { job, shown, edit } = store.get();
  if ((shown === 'result' || !edit.doc) && job?.phase === 'done') {
    const k = job.selected;
    const result = job.results[k];
    const name = `${job.task}-${job.request.seed}-${k + 1}.png`;
    const area = job.base?.area;
    if (!area) download({ url: result.url, name });
    else {
      const doc = { image: result.image, h: Math.ceil(job.height / job.factor), w: Math.ceil(job.width / job.factor), factor: job.factor };
      downloadCanvas(wholePicture(area, doc, withTouched(area, filledCells(job, k), doc.h * doc.w).touched), `${area.photo.name}-${name}`, result.blob);
    }
  } else if (edit.doc) downloadCanvas(edit.area ? wholePicture(edit.area, edit.doc) : edit.doc.image, `${edit.doc.name}.png`);
  else announce(t('There is no picture to download.'));
}

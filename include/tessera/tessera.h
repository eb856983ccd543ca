/* Tessera's interface for other programs, in C: discrete diffusion image models are loaded, sampled, edited, scored and
 * trained. No type of another library appears in it; other languages bind to it, tessera.hpp wraps it for C++.
 *
 * Options are JSON objects in UTF-8 whose names are those of the HTTP service and of recipes ("steps", "sampler",
 * "prompt", "cfg_scale"); tessera_options_schema() lists them. NULL and "" stand for {}. An unknown name, a value out
 * of its range and an option that the model has no use for are errors that name it.
 *
 * Pixels are 8-bit sRGB, rows from the top, interleaved. Tokens are codes in [0, K), row by row; -1 is MASK, a cell
 * that is to be filled.
 *
 * Errors: a function that can fail returns a tessera_status; tessera_error_message() then is one line that says what
 * was found and what was expected, for the calling thread, until it calls the library again. What a failed call was to
 * write through its out pointer is NULL. No exception leaves the library, no signal handler is set by it.
 *
 * Threads: a model may be used by several threads at once; each result belongs to whoever asked for it. */
#ifndef TESSERA_TESSERA_H
#define TESSERA_TESSERA_H

#include <stddef.h>
#include <stdint.h>

#define TESSERA_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tessera_status {
  TESSERA_OK = 0,
  TESSERA_FAILED = 1,  /* a file, a model or the machine; the message says which */
  TESSERA_USAGE = 2,   /* an argument or option */
  TESSERA_STOPPED = 3, /* a callback asked for it */
  TESSERA_MEMORY = 4   /* out of memory */
} tessera_status;

/* "0.2.0", of the library that runs; semantic versions. */
TESSERA_API const char* tessera_version(void);
/* Of the calling thread's latest failed call; "" where it did not fail. */
TESSERA_API const char* tessera_error_message(void);
/* Threads that computing takes; 0: one a processor, as from the start. */
TESSERA_API tessera_status tessera_set_threads(int threads);

/* level: 0 debug, 1 information, 2 warning, 3 error. `line` has no line break and lives as long as the call. */
typedef void (*tessera_log_function)(void* user, int level, const char* line);
/* Where lines of the log go: nowhere from the start and where `function` is NULL. Called from any thread, one at a
 * time. */
TESSERA_API void tessera_set_log(tessera_log_function function, void* user);

/* ---- images -------------------------------------------------------------------------------------------------------
 */

/* An image that the caller holds. */
typedef struct tessera_image_view {
  int width, height;     /* pixels */
  int channels;          /* 3: RGB; 4: RGBA, not premultiplied; 1: grey, for masks */
  size_t stride;         /* bytes from row to row; 0: width * channels */
  const uint8_t* pixels; /* [height, width, channels] */
} tessera_image_view;

/* A grid of codes that the caller holds. */
typedef struct tessera_grid_view {
  int64_t height, width; /* cells */
  const int32_t* tokens; /* [height, width]; -1: MASK */
} tessera_grid_view;

/* What a call has made: images with their tokens and the record of how they came about. */
typedef struct tessera_images tessera_images;

TESSERA_API void tessera_images_free(tessera_images* images);
TESSERA_API int64_t tessera_images_count(const tessera_images* images);
/* Image i, RGB or, where what was edited has transparency, RGBA. It lives as long as `images`; pixels is NULL where
 * there is no image i or the call made tokens alone. */
TESSERA_API tessera_image_view tessera_images_image(const tessera_images* images, int64_t i);
/* Its tokens, in the same manner. */
TESSERA_API tessera_grid_view tessera_images_tokens(const tessera_images* images, int64_t i);
/* A JSON object: the options that were used (and nothing else), what was asked for under "condition", "seed", "dtype"
 * and "kernels" that computed, "count", "evaluations", "seconds", and where there are any "notes": what was scaled or
 * snapped. */
TESSERA_API const char* tessera_images_record(const tessera_images* images);

/* PNG, JPEG, WebP, TIFF, GIF, and HEIC and AVIF where the system reads them: upright, sRGB. The file is taken to be a
 * stranger's: sizes are checked before pixels are decoded. One image, without tokens. */
TESSERA_API tessera_status tessera_image_read(const char* path, tessera_images** out);
/* PNG, WebP or JPEG by the ending; written aside and renamed. record: JSON that a PNG carries (as `tessera generate`
 * does), or NULL. */
TESSERA_API tessera_status tessera_image_write(const char* path, const tessera_image_view* image, const char* record);

/* ---- models -------------------------------------------------------------------------------------------------------
 */

typedef struct tessera_model tessera_model;

/* A bundle's folder, or the name of an installed model. options: "device" ("cpu", "cuda", "cuda:1"), "dtype" ("auto",
 * "float32", "bfloat16", "float16", "int8"), "loras" (["file", "file:0.8"]). */
TESSERA_API tessera_status tessera_model_load(const char* path, const char* options, tessera_model** out);
/* Results outlive the model. */
TESSERA_API void tessera_model_free(tessera_model* model);
/* A JSON object: "image_size", "factor" (pixels a cell), "codebook_size", "grid" ([h, w]), "condition" ("none", "text",
 * "class"), "classes" (how many), "class_names" (a list; empty: they have none), "process", "dtype", "suggestion"
 * (options where the caller names no sampler) ... Lives as long as the model. */
TESSERA_API const char* tessera_model_info(const tessera_model* model);
/* A JSON array of all sampling options: name, type, range, default, help, choices. */
TESSERA_API const char* tessera_options_schema(void);

/* After each step of a fill: tokens of all images that are filled together. What is pointed to lives as long as the
 * call. */
typedef struct tessera_step {
  int64_t step, steps;   /* 1 .. steps */
  int64_t evaluations;   /* of the network so far, times images */
  int64_t count;         /* images */
  int64_t height, width; /* cells */
  const int32_t* tokens; /* [count, height, width]; -1: MASK */
} tessera_step;
/* Any value but 0 stops the fill: the call returns TESSERA_STOPPED. */
typedef int (*tessera_step_function)(void* user, const tessera_step* step);

/* All calls below take the sampling options and "seed", "count" (images), "batch" (images filled together, 16),
 * "first_image" (number of the first one: image i of a seed is always the same), "stride" and "random_windows" (of
 * canvases larger than the model's own); edits also "feather", "sharp" and "threshold" (docs/editing.md). `on_step` may
 * be NULL. */

/* New images; "width" and "height" in pixels, the model's own where they are left out. */
TESSERA_API tessera_status tessera_generate(tessera_model* model, const char* options, tessera_step_function on_step,
                                            void* user, tessera_images** out);
/* The cells under the mask are made anew. mask: of the image's size; grey of 128 and more, or opaque pixels, are meant.
 * "keep": true: they stay and all else is made anew. */
TESSERA_API tessera_status tessera_inpaint(tessera_model* model, const tessera_image_view* image,
                                           const tessera_image_view* mask, const char* options,
                                           tessera_step_function on_step, void* user, tessera_images** out);
/* New surroundings: "left", "right", "top", "bottom" in pixels. */
TESSERA_API tessera_status tessera_outpaint(tessera_model* model, const tessera_image_view* image, const char* options,
                                            tessera_step_function on_step, void* user, tessera_images** out);
/* Images near a given one. mask: where they may differ; NULL: everywhere. "strength": share of cells in (0, 1], "by":
 * "random" or "likelihood". */
TESSERA_API tessera_status tessera_variations(tessera_model* model, const tessera_image_view* image,
                                              const tessera_image_view* mask, const char* options,
                                              tessera_step_function on_step, void* user, tessera_images** out);

/* The part (x, y, width, height) of an image, and where its corner lies on the canvas, pixels. */
typedef struct tessera_piece {
  tessera_image_view image;
  int x, y, width, height;
  int to_x, to_y;
} tessera_piece;
/* Pieces on a canvas, the rest is filled. onto: the canvas, or NULL: an empty one of "width" x "height". "seam": pixels
 * around each piece that are made anew. */
TESSERA_API tessera_status tessera_stitch(tessera_model* model, const tessera_piece* pieces, size_t count,
                                          const tessera_image_view* onto, const char* options,
                                          tessera_step_function on_step, void* user, tessera_images** out);
/* The MASK cells of a grid of any extent are filled: every job comes to this. onto: what the decode is laid over where
 * cells changed, or NULL. */
TESSERA_API tessera_status tessera_fill(tessera_model* model, const tessera_grid_view* grid,
                                        const tessera_image_view* onto, const char* options,
                                        tessera_step_function on_step, void* user, tessera_images** out);

/* An image's tokens; the result has no pixels. */
TESSERA_API tessera_status tessera_encode(tessera_model* model, const tessera_image_view* image, tessera_images** out);
/* Whole grids of one extent, as images. */
TESSERA_API tessera_status tessera_decode(tessera_model* model, const tessera_grid_view* grids, size_t count,
                                          tessera_images** out);
/* How likely each cell's code is, given the others: log_probabilities [height, width] of the grid gets nats, 0 where a
 * cell is MASK. options: "prompt", "class" ..., "spacing" (docs/http-api.md). With an autoregressive prior their sum is
 * the exact log likelihood. */
TESSERA_API tessera_status tessera_score(tessera_model* model, const tessera_grid_view* grid, const char* options,
                                         double* log_probabilities);

/* ---- data and training --------------------------------------------------------------------------------------------
 */

/* A data set as trainings read it: a folder, zip, tar shards or .tessera-pack of images with captions and labels. */
typedef struct tessera_dataset tessera_dataset;

/* options: "size" (pixels a side; 0: a pack's own), "split" ("all", "train", "validation", "test"), "where"
 * (["style=flat", "license!=..."]), "split_field", "seed", "validation_fraction". */
TESSERA_API tessera_status tessera_dataset_open(const char* path, const char* options, tessera_dataset** out);
TESSERA_API void tessera_dataset_free(tessera_dataset* dataset);
TESSERA_API int64_t tessera_dataset_count(const tessera_dataset* dataset);
/* Writes image i, size * size * 3 bytes, to `pixels`. */
TESSERA_API tessera_status tessera_dataset_image(const tessera_dataset* dataset, int64_t i, uint8_t* pixels);
/* {"name", "captions": [...], "label", "class" (its name), "fields": {...}} of image i, what there is of it; lives
 * until the next call of this function with this data set: one thread at a time. */
TESSERA_API const char* tessera_dataset_record(tessera_dataset* dataset, int64_t i);
/* Pixels a side. */
TESSERA_API int tessera_dataset_size(const tessera_dataset* dataset);

/* After each update of a training. metrics: a JSON object with what was measured. */
typedef struct tessera_training_step {
  int64_t step, steps;
  const char* metrics;
} tessera_training_step;
/* Any value but 0 saves the state and stops: the call returns TESSERA_STOPPED, and "resume" goes on from there. */
typedef int (*tessera_training_function)(void* user, const tessera_training_step* step);

/* Trains part "codec" or "prior" of the bundle `model` on `data`. options: the fields of the part's recipe (as in
 * recipes/), "recipe" (a TOML file that they are laid over), "device", "resume", "where", "split_field",
 * "validate_every", "save_every". The bundle can be used while this runs; it ends with the best weights. */
TESSERA_API tessera_status tessera_train(const char* part, const char* data, const char* model, const char* options,
                                         tessera_training_function on_step, void* user);

#ifdef __cplusplus
}
#endif

#endif

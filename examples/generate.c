/* Makes four images. usage: generate_c [MODEL]     a bundle's folder or the name of an installed model */
#include <stdio.h>
#include <tessera/tessera.h>

static int on_step(void* user, const tessera_step* step) {
  (void)user;
  fprintf(stderr, "\rstep %d of %d%s", (int)step->step, (int)step->steps, step->step == step->steps ? "\n" : "");
  return 0; /* anything else stops it */
}

int main(int argc, char** argv) {
  tessera_model* model = NULL;
  tessera_images* images = NULL;
  tessera_status status = tessera_model_load(argc > 1 ? argv[1] : "portraits", NULL, &model);
  if (status == TESSERA_OK) {
    status = tessera_generate(model, "{\"count\": 4, \"steps\": 16, \"seed\": 3}", on_step, NULL, &images);
  }
  for (int i = 0; status == TESSERA_OK && i < tessera_images_count(images); ++i) {
    const tessera_image_view image = tessera_images_image(images, i);
    char path[32];
    snprintf(path, sizeof(path), "c-%d.png", i);
    status = tessera_image_write(path, &image, tessera_images_record(images));
  }
  if (status != TESSERA_OK) fprintf(stderr, "error: %s\n", tessera_error_message());
  tessera_images_free(images);
  tessera_model_free(model);
  return status == TESSERA_OK ? 0 : 1;
}

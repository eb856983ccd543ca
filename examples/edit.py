#!/usr/bin/env python3
"""Makes a picture and edits it four ways.

usage: edit.py [MODEL] [FOLDER]     a bundle's folder or the name of an installed model; where the pictures go
"""

import sys
from pathlib import Path

import tessera

model = sys.argv[1] if len(sys.argv) > 1 else "portraits"
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "edited")
folder.mkdir(parents=True, exist_ok=True)

pipe = tessera.Pipeline.from_pretrained(model)
how = {"num_inference_steps": 16, "seed": 3}
picture = pipe(**how).images[0]  # any image file, PIL image or uint8 array will do
width, height = picture.size

# The lower middle made anew, four times over.
box = (width // 4, height // 2, width // 2, height // 4)
mouths = pipe.inpaint(picture, box=box, num_images_per_prompt=4, **how)
tessera.make_image_grid(mouths.images, rows=1, cols=4).save(folder / "inpaint.png")

# What lies beyond the right border.
pipe.outpaint(picture, right=width // 2, **how).save(folder / "outpaint.png")

# Near to it: a third of the cells made anew.
pipe.variations(picture, strength=0.33, **how).save(folder / "variation.png")

# By its tokens: the cells that the model finds least likely are opened and filled again.
tokens = pipe.encode(picture)
scores = pipe.score(tokens, spacing=4)
tokens[scores < scores.mean()] = tessera.MASK
pipe.fill(tokens, **how).save(folder / "mended.png")

print(f"mean log probability of a cell: {scores.mean():.2f} nats; pictures in {folder}")

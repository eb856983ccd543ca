"""Writes safetensors files of random float32 weights: for measurements of time and memory without published files. Only Python's
standard library."""

import array
import json
import math
import random
import struct
import sys

BLOCK = 1 << 16  # numbers that are drawn; larger tensors repeat them from other places


class Normals:
    """Normal numbers of several deviations out of one table."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.unit = [self.draw.gauss(0, 1) for _ in range(BLOCK)]
        self.tables = {}

    def chunks(self, count, deviation):
        if deviation not in self.tables:
            table = array.array("f", (deviation * x for x in self.unit))
            if sys.byteorder != "little":
                table.byteswap()
            self.tables[deviation] = table.tobytes() * 2
        table = self.tables[deviation]
        for first in range(0, count, BLOCK):
            start = 4 * self.draw.randrange(BLOCK)
            yield table[start : start + 4 * min(BLOCK, count - first)]


def write(path, shapes, seed, deviation_of):
    """shapes: {name: shape}; deviation_of(name, shape): of normal numbers, or ("constant", value). Returns the number of weights."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    normals = Normals(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            count, deviation = math.prod(shape), deviation_of(name, shape)
            if isinstance(deviation, tuple):
                file.write(struct.pack("<f", deviation[1]) * count)
                continue
            for chunk in normals.chunks(count, deviation):
                file.write(chunk)
    return at // 4


def tensors(shapes, seed, deviation_of):
    """The same numbers as PyTorch tensors by their names, for files that are torch archives. Needs the distribution's python3-torch."""
    import torch

    normals = Normals(seed)
    made = {}
    for name, shape in shapes.items():
        count, deviation = math.prod(shape), deviation_of(name, shape)
        if isinstance(deviation, tuple):
            made[name] = torch.full(shape, deviation[1])
            continue
        numbers = bytearray().join(normals.chunks(count, deviation))
        made[name] = torch.frombuffer(numbers, dtype=torch.float32).view(shape)
    return made


def write_archive(path, content):
    """A file as torch.save writes it."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def codec_deviation(name, shape):
    """Norms 1, biases 0, codes normal, convolutions by their inputs."""
    if name.endswith("bias") or name.endswith("codebook_used"):
        return ("constant", 0.0)
    if len(shape) == 1:
        return ("constant", 1.0)
    return 1.0 if "embedding" in name else 1 / math.sqrt(math.prod(shape[1:]))

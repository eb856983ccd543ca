"""PNG files as they are written here (8 bits, not interlaced): their pixels, their record of the command, and how far two differ."""

import json
import math
import struct
import zlib


def chunks(path):
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path}: no PNG")
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def record_of(path):
    """What Tessera notes in its pictures: the command and the options; None where there is nothing."""
    for kind, body in chunks(path):
        name, _, text = body.partition(b"\0")
        if kind in (b"tEXt", b"iTXt") and name == b"tessera":
            return json.loads((text.split(b"\0", 3)[-1] if kind == b"iTXt" else text).decode())
    return None


def computed_by(record):
    """The number format and the kernels that made a picture. Shown bfloat16 pictures whose record is older than the word are of AVX512-BF16."""
    if not record:
        return {}
    computed = {name: record[name] for name in ("dtype", "kernels") if name in record}
    return {"kernels": "avx512-bf16", **computed} if computed.get("dtype") == "bfloat16" else computed


def computed_otherwise(one, other):
    """Of what computed_by says of both, in which they differ."""
    return [name for name in ("dtype", "kernels") if name in one and name in other and one[name] != other[name]]


class Png:
    def __init__(self, path):
        self.record, packed, palette = record_of(path), b"", b""
        for kind, body in chunks(path):
            if kind == b"IHDR":
                self.width, self.height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
                if depth != 8 or interlace or colour not in (0, 2, 3, 4, 6):
                    raise ValueError(f"{path}: {depth} bits, colour type {colour}: not read here")
            elif kind == b"PLTE":
                palette = body
            elif kind == b"IDAT":
                packed += body
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        rows = unfiltered(zlib.decompress(packed), self.width * channels, self.height, channels)
        self.rows = [as_rgb(row, channels, palette if colour == 3 else None) for row in rows]

    def part(self, left, top, width, height):
        return [row[3 * left : 3 * (left + width)] for row in self.rows[top : top + height]]


def unfiltered(data, stride, height, step):
    rows, above, at = [], bytearray(stride), 0
    for _ in range(height):
        kind, row = data[at], bytearray(data[at + 1 : at + 1 + stride])
        at += stride + 1
        for i in range(stride):
            a = row[i - step] if i >= step else 0
            if kind == 1:
                row[i] = (row[i] + a) & 255
            elif kind == 2:
                row[i] = (row[i] + above[i]) & 255
            elif kind == 3:
                row[i] = (row[i] + (a + above[i]) // 2) & 255
            elif kind == 4:
                b, c = above[i], above[i - step] if i >= step else 0
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                row[i] = (row[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255
        rows.append(row)
        above = row
    return rows


def as_rgb(row, channels, palette):
    if palette is not None:
        return b"".join(palette[3 * i : 3 * i + 3] for i in row)
    if channels == 3:
        return bytes(row)
    if channels == 4:  # on white, as the pages show it
        return bytes((row[i + c] * row[i + 3] + 255 * (255 - row[i + 3]) + 127) // 255 for i in range(0, len(row), 4) for c in range(3))
    return b"".join(bytes([row[i]] * 3) for i in range(0, len(row), channels))


SQUARE = 8  # pixels: what is compared
SQUARE_MAY_DIFFER = 12  # of 255, in the mean
SHARE_MAY_DIFFER = 0.05  # of the squares


def share_that_differs(a, b):
    """Of two pictures' rows of equal size: the share of 8x8 squares whose mean absolute difference exceeds 12 of 255."""
    height, width = len(a), len(a[0]) // 3
    squares = different = 0
    for top in range(0, height, SQUARE):
        for left in range(0, width, SQUARE):
            total = count = 0
            for y in range(top, min(top + SQUARE, height)):
                one, other = a[y][3 * left : 3 * (left + SQUARE)], b[y][3 * left : 3 * (left + SQUARE)]
                total += sum(abs(p - q) for p, q in zip(one, other))
                count += len(one)
            squares += 1
            different += total > SQUARE_MAY_DIFFER * count
    return different / squares


def columns_of(count):
    """Of a contact sheet of so many pictures."""
    return math.ceil(math.sqrt(count))


def tiles(png, count, columns):
    """The first pictures of a contact sheet of `count` in `columns`, 2 pixels apart; of one picture, itself."""
    if count == 1:
        return [png.part(0, 0, png.width, png.height)]
    lines = math.ceil(count / columns)
    width, height = (png.width - 2) // columns - 2, (png.height - 2) // lines - 2
    return [png.part(2 + i % columns * (width + 2), 2 + i // columns * (height + 2), width, height) for i in range(count)]


def difference(made, shown, made_tiles=None, shown_tiles=None):
    """None where `made` is what `shown` shows, or its first pictures; else what differs, in words. Tiles: (count, columns)."""
    if made_tiles != shown_tiles:
        pairs = list(zip(tiles(made, *made_tiles), tiles(shown, *shown_tiles)))
    elif (made.width, made.height) != (shown.width, shown.height):
        return f"{made.width}x{made.height} pixels, shown are {shown.width}x{shown.height}"
    else:
        pairs = [(made.part(0, 0, made.width, made.height), shown.part(0, 0, shown.width, shown.height))]
    for number, (one, other) in enumerate(pairs):
        if len(one) != len(other) or len(one[0]) != len(other[0]):
            return f"picture {number} has another size"
        share = share_that_differs(one, other)
        if share > SHARE_MAY_DIFFER:
            return f"picture {number}: {100 * share:.0f} % of its 8x8 squares differ by more than {SQUARE_MAY_DIFFER} of 255, at most {100 * SHARE_MAY_DIFFER:.0f} % may"
    return None

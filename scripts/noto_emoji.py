"""The pictures of the Noto Color Emoji font as a zip with metadata.jsonl.

usage: noto_emoji.py FONT EMOJI-TEST OUT.zip     (called by make_noto_emoji)
A bitmap of the font is 136x128; the drawing is its middle 128x128. Flags of countries and regions are left out: they are no drawings of Noto's.
"""

import json
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

from colour_font import ColourFont

SIDE = 128
VARIATION_SELECTOR = 0xFE0F  # the set's file names leave it out


def emoji_of(path):
    """Every sequence once: (codes, name, group, subgroup)."""
    group, subgroup, seen = "", "", set()
    for line in open(path, encoding="utf-8"):
        if line.startswith("# group:"):
            group = line.split(":", 1)[1].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip()
        elif found := re.match(r"([0-9A-F ]+?) *; \S+ *# \S+ E[\d.]+ (.+)", line):
            codes = tuple(int(code, 16) for code in found.group(1).split())
            plain = tuple(code for code in codes if code != VARIATION_SELECTOR)
            if plain not in seen:
                seen.add(plain)
                yield codes, found.group(2).strip(), group, subgroup


def is_region_flag(codes):
    return all(0x1F1E6 <= code <= 0x1F1FF for code in codes) or any(0xE0020 <= code <= 0xE007F for code in codes)


def middle(data):
    """A PNG as its middle SIDE x SIDE, rows of RGBA for png()."""
    at, packed, palette, alpha = 8, b"", b"", b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"tRNS":
            alpha = body
        elif kind == b"IDAT":
            packed += body
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if interlace or height != SIDE or width < SIDE or (depth != 8 and channels > 1):
        raise ValueError(f"a bitmap of {width}x{height}, {depth} bits, colour type {colour}: not read here")
    rows = unfiltered(zlib.decompress(packed), (width * channels * depth + 7) // 8, height, channels)
    left = (width - SIDE) // 2

    def rgba(row, x):
        if channels > 1:
            value = bytes(row[channels * x : channels * (x + 1)])
            return {2: value[:1] * 3 + value[1:], 3: value + b"\xff", 4: value}[channels]
        bit = x * depth
        index = row[bit // 8] >> (8 - depth - bit % 8) & ((1 << depth) - 1)
        if colour == 3:
            return palette[3 * index : 3 * index + 3] + (alpha[index : index + 1] or b"\xff")
        return bytes([index * 255 // ((1 << depth) - 1)] * 3) + b"\xff"

    return b"".join(b"\0" + b"".join(rgba(row, left + x) for x in range(SIDE)) for row in rows)


def unfiltered(data, stride, height, step):
    rows, above = [], bytearray(stride)
    for y in range(height):
        kind, row = data[y * (stride + 1)], bytearray(data[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            a, b, c = row[i - step] if i >= step else 0, above[i], above[i - step] if i >= step else 0
            if kind == 1:
                guess = a
            elif kind == 2:
                guess = b
            elif kind == 3:
                guess = (a + b) // 2
            else:
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                guess = a if pa <= pb and pa <= pc else b if pb <= pc else c
            row[i] = (row[i] + guess) & 255
        rows.append(row)
        above = row
    return rows


def png(raw):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def main():
    font, out = ColourFont(sys.argv[1]), Path(sys.argv[3])
    part, lines = out.with_name(out.name + ".part"), []
    with zipfile.ZipFile(part, "w") as archive:
        for codes, name, group, subgroup in sorted(emoji_of(sys.argv[2])):
            plain = [code for code in codes if code != VARIATION_SELECTOR]
            glyph = font.glyph(codes) or font.glyph(plain)
            if glyph is None or is_region_flag(plain):
                continue
            file = "images/emoji_u" + "_".join(f"{code:04x}" for code in plain) + ".png"
            lines.append(json.dumps({"file_name": file, "text": name, "group": group, "subgroup": subgroup}, ensure_ascii=False))
            archive.writestr(zipfile.ZipInfo(file), png(middle(font.png(glyph))))
        archive.writestr(zipfile.ZipInfo("metadata.jsonl"), "\n".join(lines) + "\n")
        archive.writestr(zipfile.ZipInfo("LICENSES"),
                         "Pictures: Noto Emoji (github.com/googlefonts/noto-emoji), from Debian's fonts-noto-color-emoji; images Apache-2.0.\n"
                         "Names and groups: Unicode's emoji-test.txt, from Debian's unicode-data; Unicode licence.\n")
    part.rename(out)
    print(f"{out}: {len(lines)} pictures")


if __name__ == "__main__":
    main()

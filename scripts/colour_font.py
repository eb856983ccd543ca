"""Reads the pictures of a colour bitmap font (CBDT/CBLC, as Noto Color Emoji has them) and the sequences they stand for.
Formats: the OpenType specification's chapters cmap, CBLC, CBDT and GSUB. Only what such fonts use is read."""

import struct


class ColourFont:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        count = self.u16(4)
        self.tables = {}
        for i in range(count):
            tag, _, offset, length = struct.unpack(">4sIII", self.data[12 + 16 * i : 28 + 16 * i])
            self.tables[tag.decode()] = offset
        self.glyph_of = self.read_cmap()
        self.ligatures = self.read_ligatures()
        self.places = self.read_places()

    def u16(self, at):
        return struct.unpack_from(">H", self.data, at)[0]

    def u32(self, at):
        return struct.unpack_from(">I", self.data, at)[0]

    def read_cmap(self):
        """Code point -> glyph, from the subtable of format 12."""
        at, result = self.tables["cmap"], {}
        for i in range(self.u16(at + 2)):
            sub = at + self.u32(at + 4 + 8 * i + 4)
            if self.u16(sub) != 12:
                continue
            for k in range(self.u32(sub + 12)):
                first, last, glyph = struct.unpack_from(">III", self.data, sub + 16 + 12 * k)
                for code in range(first, last + 1):
                    result[code] = glyph + code - first
        return result

    def coverage(self, at):
        if self.u16(at) == 1:
            return [self.u16(at + 4 + 2 * i) for i in range(self.u16(at + 2))]
        glyphs = []
        for i in range(self.u16(at + 2)):
            first, last, _ = struct.unpack_from(">HHH", self.data, at + 4 + 6 * i)
            glyphs += range(first, last + 1)
        return glyphs

    def read_ligatures(self):
        """One dictionary a lookup, in order: glyphs -> the glyph that stands for them (GSUB type 4)."""
        at = self.tables["GSUB"]
        lookups = at + self.u16(at + 8)
        result = []
        for i in range(self.u16(lookups)):
            lookup = lookups + self.u16(lookups + 2 + 2 * i)
            kind, found = self.u16(lookup), {}
            for k in range(self.u16(lookup + 4)):
                sub = lookup + self.u16(lookup + 6 + 2 * k)
                if kind == 7:  # extension
                    if self.u16(sub + 2) != 4:
                        continue
                    sub += self.u32(sub + 4)
                elif kind != 4:
                    continue
                firsts = self.coverage(sub + self.u16(sub + 2))
                for number, first in enumerate(firsts):
                    group = sub + self.u16(sub + 6 + 2 * number)
                    for m in range(self.u16(group)):
                        ligature = group + self.u16(group + 2 + 2 * m)
                        rest = [self.u16(ligature + 4 + 2 * c) for c in range(self.u16(ligature + 2) - 1)]
                        found[(first, *rest)] = self.u16(ligature)
            result.append(found)
        return result

    def read_places(self):
        """Glyph -> (offset, length) of its PNG in the file, from the first strike."""
        at = self.tables["CBLC"]
        base, size = self.tables["CBDT"], at + 8
        array, count = at + self.u32(size), self.u32(size + 8)
        places = {}
        for i in range(count):
            first, last, extra = struct.unpack_from(">HHI", self.data, array + 8 * i)
            sub = array + extra
            index_format, image_format, images = struct.unpack_from(">HHI", self.data, sub)
            header = {17: 9, 18: 12, 19: 4}[image_format]  # metrics and the PNG's length
            for glyph in range(first, last + 1):
                if index_format == 1:
                    begin, end = self.u32(sub + 8 + 4 * (glyph - first)), self.u32(sub + 12 + 4 * (glyph - first))
                elif index_format == 3:
                    begin, end = self.u16(sub + 8 + 2 * (glyph - first)), self.u16(sub + 10 + 2 * (glyph - first))
                else:
                    raise ValueError(f"CBLC: index format {index_format} is not read here")
                if end > begin:
                    places[glyph] = (base + images + begin + header, end - begin - header)
        return places

    def glyph(self, codes):
        """The glyph that a sequence of code points becomes, or None where it stays several or has no picture."""
        glyphs = [self.glyph_of.get(code) for code in codes]
        if None in glyphs:
            return None
        for lookup in self.ligatures:
            i = 0
            while i < len(glyphs):
                for length in range(len(glyphs) - i, 1, -1):
                    whole = lookup.get(tuple(glyphs[i : i + length]))
                    if whole is not None:
                        glyphs[i : i + length] = [whole]
                        break
                i += 1
        return glyphs[0] if len(glyphs) == 1 and glyphs[0] in self.places else None

    def png(self, glyph):
        begin, length = self.places[glyph]
        return self.data[begin : begin + length]

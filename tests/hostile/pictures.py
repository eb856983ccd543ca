"""Pictures that are small on the disk and say that they are large, or cost much to read."""
import struct
import zlib


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def zeros(count, level=9):
    """A zlib stream of `count` zero bytes."""
    packer = zlib.compressobj(level)
    piece, out = bytes(1 << 20), []
    while count > 0:
        out.append(packer.compress(piece[:min(count, len(piece))]))
        count -= len(piece)
    return b''.join(out) + packer.flush()


def png(width, height, colour=2, bits=8, interlaced=0, before=b'', data=None, after=b''):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if data is None:
        data = zeros((1 + (width * bits * channels + 7) // 8) * height + (height * 8 if interlaced else 0))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, interlaced)) +
            before + chunk(b'IDAT', data) + after + chunk(b'IEND', b''))


def good(side=64):
    rows = b''.join(b'\0' + bytes((x * 3 + y * k) % 256 for x in range(side) for k in (1, 2, 3)) for y in range(side))
    return png(side, side, data=zlib.compress(rows))


def gif(width, height, frames=1, frame=None, data=b'\x02\x02\x44\x01\x00'):
    fw, fh = frame or (1, 1)
    out = b'GIF89a' + struct.pack('<HHBBB', width, height, 0x80, 0, 0) + b'\0\0\0\xff\xff\xff'
    one = b'\x21\xf9\x04\0\0\0\0\0' + b',' + struct.pack('<HHHHB', 0, 0, fw, fh, 0) + data
    return out + one * frames + b';'


def lzw_zeros(count):
    """GIF image data: many runs of one colour, each code one longer than the last."""
    bits, out, size, code, left = 0, bytearray(), 3, 6, count
    held = 0

    def put(value):
        nonlocal bits, held
        held |= value << bits
        bits += size
        while bits >= 8:
            out.append(held & 255)
            held >>= 8
            bits -= 8
    put(4)
    put(0)
    left -= 1
    run = 2
    while left > 0:
        put(code)
        left -= run
        run += 1
        code += 1
        if code == (1 << size) and size < 12:
            size += 1
        if code >= 4095:
            put(4)
            size, code, run = 3, 6, 2
            put(0)
            left -= 1
    put(5)
    out.append(held & 255)
    blocks = b''.join(bytes([len(out[i:i + 255])]) + bytes(out[i:i + 255]) for i in range(0, len(out), 255))
    return b'\x02' + blocks + b'\0'


def tiff(entries, tail=b'', order='<', next_ifd=0):
    """entries: (tag, type, count, value). The tail begins behind the directory."""
    head = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(order + 'I', 8)
    body = struct.pack(order + 'H', len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(order + 'HHI', tag, kind, count)
        body += struct.pack(order + 'HH', value, 0) if kind == 3 and count == 1 else struct.pack(order + 'I', value)
    return head + body + struct.pack(order + 'I', next_ifd) + tail


def tiff_of(width, height, strip, compression=8, samples=3, bits=8, rows=None, more=(), tail=b'', next_ifd=0):
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 2 if samples > 2 else 1),
               (273, 4, 1, 0), (277, 3, 1, samples), (278, 4, 1, rows or height), (279, 4, 1, len(strip))] + list(more)
    entries.sort()
    at = 8 + 2 + 12 * len(entries) + 4
    entries = [(t, k, c, at if t == 273 else v) for t, k, c, v in entries]
    return tiff(entries, strip + tail, next_ifd=next_ifd)


def webp_lossless(width, height, body=b'\0' * 64):
    bits = (width - 1) | (height - 1) << 14
    data = b'\x2f' + struct.pack('<I', bits) + body
    return b'RIFF' + struct.pack('<I', 4 + 8 + len(data)) + b'WEBPVP8L' + struct.pack('<I', len(data)) + data


def webp_animated(width, height, frames):
    still = b'VP8L' + struct.pack('<I', 8) + b'\x2f' + struct.pack('<I', 0) + b'\x07\x10\x11'
    still += b'' if len(still) % 2 == 0 else b'\0'
    one = b'ANMF' + struct.pack('<I', 16 + len(still)) + bytes(6) + bytes(6) + bytes(4) + still
    side = lambda n: struct.pack('<I', n - 1)[:3]
    body = b'VP8X' + struct.pack('<I', 10) + b'\x02\0\0\0' + side(width) + side(height) + b'ANIM' + struct.pack('<I', 6) + bytes(6) + one * frames
    return b'RIFF' + struct.pack('<I', 4 + len(body)) + b'WEBP' + body


def jpeg_scans(side, scans):
    """Progressive, one component; each scan says of every block, by runs, that nothing comes."""
    out = b'\xff\xd8' + b'\xff\xdb' + struct.pack('>HB', 67, 0) + b'\x01' * 64
    out += b'\xff\xc2' + struct.pack('>HBHHB', 11, 8, side, side, 1) + b'\x01\x11\0'
    out += b'\xff\xc4' + struct.pack('>HB', 20, 0x00) + b'\x01' + bytes(15) + b'\0'
    out += b'\xff\xc4' + struct.pack('>HB', 20, 0x10) + b'\x01' + bytes(15) + b'\xe0'
    blocks = ((side + 7) // 8) ** 2
    out += b'\xff\xda' + struct.pack('>HBBBBBB', 8, 1, 1, 0x00, 0, 0, 0x00) + bytes((blocks + 7) // 8)
    bits = ''
    for _ in range(blocks // 32767 + 1):
        bits += '0' + '1' * 14
    bits += '1' * (-len(bits) % 8)
    data = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)).replace(b'\xff', b'\xff\0')
    one = b'\xff\xda' + struct.pack('>HBBBBBB', 8, 1, 1, 0x00, 1, 63, 0x00) + data
    return out + one * scans + b'\xff\xd9'


def jpeg_header(width, height):
    out = b'\xff\xd8' + b'\xff\xdb' + struct.pack('>HB', 67, 0) + b'\x01' * 64
    out += b'\xff\xc0' + struct.pack('>HBHHB', 17, 8, height, width, 3) + b'\x01\x22\0\x02\x11\0\x03\x11\0'
    out += b'\xff\xc4' + struct.pack('>HB', 20, 0x00) + b'\x01' + bytes(15) + b'\0'
    out += b'\xff\xc4' + struct.pack('>HB', 20, 0x10) + b'\x01' + bytes(15) + b'\0'
    return out + b'\xff\xda' + struct.pack('>HB', 12, 3) + b'\x01\0\x02\0\x03\0\0\x3f\0' + bytes(200000) + b'\xff\xd9'


def tiff_pages(pages=20000):
    one = lambda at: [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, 1)]
    size = 2 + 12 * 9 + 4
    body = b''.join(tiff(one(0), next_ifd=8 + size * (k + 1) if k + 1 < pages else 0)[8:] for k in range(pages))
    return b'II*\0' + struct.pack('<I', 8) + body


def cases():
    """name -> bytes"""
    text = lambda data: chunk(b'tEXt', data)
    svg = (b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaaaaaaaa">' +
           b''.join(b'<!ENTITY %c "%s">' % (98 + i, b'&%c;' % (97 + i) * 10) for i in range(9)) + b']><svg xmlns="http://www.w3.org/2000/svg">&j;</svg>')
    kept = []

    def bomb():
        if not kept:
            kept.append(zeros(1 << 29, 6))
        return kept[0]
    return {
        'png-400-megapixel-1-bit': lambda: png(20000, 20000, 0, 1),
        'png-67-megapixel': lambda: png(8192, 8192),
        'png-67-megapixel-16-bit-interlaced': lambda: png(8192, 8192, 6, 16, 1),
        'png-47-megapixel-alpha': lambda: png(7000, 6800, 6),
        'png-30-megapixel-16-bit': lambda: png(6000, 5000, 2, 16),
        'png-one-row': lambda: png(60_000_000, 1),
        'png-one-column': lambda: png(1, 60_000_000, 0, 8, data=zeros(120_000_000)),
        'png-iccp-bomb': lambda: png(64, 64, before=chunk(b'iCCP', b'p\0\0' + bomb())),
        'png-ztxt-bomb': lambda: png(64, 64, before=chunk(b'zTXt', b'tessera\0\0' + bomb())),
        'png-many-ztxt-bombs': lambda: png(64, 64, before=chunk(b'zTXt', b'tessera\0\0' + zeros(8 << 20)) * 400),
        'png-itxt-bomb': lambda: png(64, 64, before=chunk(b'iTXt', b'tessera\0\1\0\0\0' + bomb())),
        'png-many-texts': lambda: png(64, 64, before=b''.join(text(b'k%d\0v' % i) for i in range(300_000))),
        'png-many-options': lambda: png(64, 64, before=text(b'tessera\0{' + b','.join(b'"k%d":1' % i for i in range(300_000)) + b'}')),
        'png-huge-text': lambda: png(64, 64, before=text(b'tessera\0' + b'{"a":"' + b'x' * (40 << 20))),
        'png-exif-huge': lambda: png(64, 64, before=chunk(b'eXIf', b'II*\0\x08\0\0\0\xff\xff' + b'\x12\x01\x04\0\xff\xff\xff\xff' * 5000)),
        'png-idat-goes-on': lambda: png(64, 64, data=bomb()),
        'png-no-palette': lambda: png(64, 64, 3),
        'png-palette-many': lambda: png(64, 64, 3, before=chunk(b'PLTE', bytes(3 * 300))),
        'png-no-width': lambda: png(0, 64, data=b''),
        'png-largest': lambda: png(0x7fffffff, 0x7fffffff, data=zeros(1000)),
        'png-chunk-longer-than-file': lambda: good()[:60] + struct.pack('>I', 0x7fffffff) + b'IDATxx',
        'png-million-empty-chunks': lambda: png(64, 64, before=chunk(b'abCd', b'') * 1_000_000),
        'png-million-empty-idats': lambda: png(64, 64, after=chunk(b'IDAT', b'') * 1_000_000),
        'apng-frames': lambda: png(64, 64, before=chunk(b'acTL', struct.pack('>II', 0x7fffffff, 0))),
        'gif-large-screen': lambda: gif(65535, 65535),
        'gif-many-frames': lambda: gif(64, 64, 300_000),
        'gif-large-frame': lambda: gif(8000, 8000, 1, (8000, 8000), lzw_zeros(64_000_000)),
        'gif-frames-8000': lambda: gif(8000, 8000, 200, (8000, 8000), b'\x02\x02\x44\x01\x00'),
        'gif-frame-outside': lambda: gif(64, 64, 3, (65535, 65535)),
        'webp-268-megapixel': lambda: webp_lossless(16384, 16384),
        'webp-66-megapixel': lambda: webp_lossless(8100, 8100),
        'webp-animated': lambda: webp_animated(64, 64, 100_000),
        'webp-animated-large': lambda: webp_animated(8000, 8000, 2000),
        'tiff-67-megapixel': lambda: tiff_of(8192, 8192, zeros(8192 * 8192), 8, 1),
        'tiff-strip-bomb': lambda: tiff_of(64, 64, bomb(), 8, 1),
        'tiff-large-tile': lambda: tiff_of(64, 64, zeros(1 << 20), 8, 1, more=[(322, 4, 1, 1 << 20), (323, 4, 1, 1 << 20), (324, 4, 1, 200), (325, 4, 1, 100)]),
        'tiff-tile-16k': lambda: tiff_of(64, 64, zeros(1 << 28), 8, 1, more=[(322, 4, 1, 16384), (323, 4, 1, 16384), (324, 4, 1, 200), (325, 4, 1, 100)]),
        'tiff-rows-per-strip': lambda: tiff_of(64, 64, bytes(100), 1, 1, rows=0xffffffff),
        'tiff-wide-strip': lambda: tiff_of(0x7fffffff, 1, bytes(100), 1, 1),
        'tiff-samples': lambda: tiff_of(64, 64, bytes(100), 1, 65535),
        'tiff-samples-float': lambda: tiff_of(4000, 4000, zeros(4000 * 4000 * 12), 8, 3, 32, more=[(339, 3, 1, 3)]),
        'tiff-double-67-megapixel': lambda: tiff_of(8000, 8000, zeros(1 << 20), 8, 4, 64, more=[(339, 3, 1, 3)]),
        'tiff-loop': lambda: tiff_of(64, 64, bytes(64 * 64), 1, 1, next_ifd=8),
        'tiff-many-pages': tiff_pages,
        'tiff-counts': lambda: tiff_of(64, 64, bytes(100), 1, 1, more=[(270, 2, 0x7fffffff, 8), (34675, 7, 0x7ffffff0, 8), (330, 4, 0x3fffffff, 8)]),
        'bigtiff': lambda: b'II+\0\x08\0\0\0' + struct.pack('<Q', 16) + struct.pack('<Q', 1 << 60),
        'tiff-jpeg': lambda: tiff_of(20000, 3000, jpeg_header(20000, 3000), 7, 3),
        'jpeg-4-gigapixel': lambda: jpeg_header(65500, 65500),
        'jpeg-64-megapixel': lambda: jpeg_header(8000, 8000),
        'jpeg-scans-90': lambda: jpeg_scans(8000, 90),
        'jpeg-scans-3000': lambda: jpeg_scans(8000, 3000),
        'jpeg-app-segments': lambda: b'\xff\xd8' + (b'\xff\xe2' + struct.pack('>H', 65535) + b'ICC_PROFILE\0\x01\xff' + bytes(65519)) * 400 + jpeg_header(64, 64)[2:],
        'jpeg-restarts': lambda: jpeg_header(64, 64)[:-2] + b'\xff\xd0' * 5_000_000 + b'\xff\xd9',
        'svg-entities': lambda: svg,
        'svg-large': lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="100000" height="100000"/>',
        'ppm-large': lambda: b'P6 60000 60000 255\n',
        'pdf': lambda: b'%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj',
        'heif-large': lambda: struct.pack('>I', 24) + b'ftypheic' + bytes(12) + struct.pack('>I', 0xffffffff) + b'meta',
        'empty': lambda: b'',
    }

"""Archives that are small and say that they are large, or cost much to list."""
import gzip
import io
import struct
import tarfile
import zipfile
import zlib

import pictures


def zip_of(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', method, compresslevel=9) as archive:
        for name, piece, times in entries:
            with archive.open(name, 'w', force_zip64=times > 2000) as entry:
                for _ in range(times):
                    entry.write(piece)
    return out.getvalue()


def plain_zip(entries):
    return zip_of([(name, data, 1) for name, data in entries], zipfile.ZIP_STORED)


def overlapping_zip(count, inner):
    """Many names in the directory for one entry of the file."""
    local = struct.pack('<IHHHHHIIIHH', 0x04034b50, 20, 0, 8, 0, 0, 0, len(inner), 1 << 28, 1, 0) + b'a' + inner
    names = [b'p%06d.png' % i for i in range(count)]
    central = b''.join(struct.pack('<IHHHHHHIIIHHHHHII', 0x02014b50, 20, 20, 0, 8, 0, 0, 0, len(inner), 1 << 28, len(n), 0, 0, 0, 0, 0, 0) + n for n in names)
    end = struct.pack('<IHHHHIIH', 0x06054b50, 0, 0, min(count, 65535), min(count, 65535), len(central), len(local), 0)
    return local + central + end


def tar_of(entries, fmt=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=fmt) as archive:
        for name, data, headers in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = headers
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_block(name, size, kind=b'0', magic=b'ustar\x0000', raw_size=None):
    head = bytearray(512)
    head[0:len(name)] = name
    head[100:108] = b'0000644\0'
    head[124:136] = raw_size if raw_size is not None else b'%011o\0' % size
    head[156:157] = kind
    head[257:265] = magic
    head[148:156] = b' ' * 8
    head[148:156] = b'%06o\0 ' % sum(head)
    return bytes(head)


def zstd_zeros(blocks, window=0x58):
    """A zstd frame of so many runs of 128 KiB."""
    run = (1 | 1 << 1 | (128 << 10) << 3)
    last = run
    more = run & ~1
    return (b'\x28\xb5\x2f\xfd' + b'\0' + bytes([window]) + (struct.pack('<I', more)[:3] + b'\0') * (blocks - 1) + struct.pack('<I', last)[:3] + b'\0')


def cases():
    good = pictures.good()
    base = [('a.png', good), ('b.png', good)]
    named = lambda extra: zip_of([(n, d, 1) for n, d in base] + extra)
    pax = lambda headers: tar_of([('a.png', good, {}), ('b.png', good, headers)])
    record = lambda text: b'%d %s\n' % (len(text) + 3 + len(str(len(text) + 10)), text)
    lots = zlib.compress(bytes(1 << 20), 9)
    z = plain_zip(base)
    wrong = bytearray(z)
    at = wrong.find(b'PK\x01\x02')
    struct.pack_into('<II', wrong, at + 20, 0xfffffffe, 0xfffffffe)
    many_tar = tar_block(b'a.png', len(good)) + good + bytes(-len(good) % 512)
    sparse = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'b.png', 'GNU.sparse.realsize': str(1 << 50)}
    return {
        'meta-lines.zip': lambda: named([('metadata.jsonl', b'{}\n' * (1 << 18), 600)]),
        'meta-zeros.zip': lambda: named([('metadata.jsonl', bytes(1 << 20), 500)]),
        'csv-zeros.zip': lambda: named([('metadata.csv', b'file_name,text\n' + b'a.png,' + b'"' * (1 << 20), 60)]),
        'png-zeros.zip': lambda: named([('c.png', bytes(1 << 20), 1500)]),
        'txt-many.zip': lambda: named([('t%d.txt' % i, b'a' * (1 << 20), 1) for i in range(600)]),
        'skip-large.zip': lambda: named([('x.bin', bytes(1 << 20), 3000)]),
        'names-many.zip': lambda: plain_zip(base + [('d/%d.txt' % i, b'') for i in range(100_000)]),
        'names-long.zip': lambda: plain_zip(base + [('n' * 60_000 + '%d.txt' % i, b'') for i in range(500)]),
        'names-deep.zip': lambda: plain_zip(base + [('d/' * 30_000 + '%d.png' % i, good) for i in range(50)]),
        'overlap.zip': lambda: overlapping_zip(60_000, zlib.compress(bytes(1 << 26), 9)[2:-4]),
        'sizes-wrong.zip': lambda: bytes(wrong),
        'sizes-local.zip': lambda: z[:18] + struct.pack('<II', 0xffffffff, 0xffffffff) + z[26:],
        'zip64-sizes.zip': lambda: z.replace(b'PK\x05\x06', b'PK\x06\x06' + struct.pack('<Q', 44) + struct.pack('<HHIIQQQQ', 45, 45, 0, 0, 1 << 62, 1 << 62, 1 << 62, 8) +
                                             b'PK\x06\x07' + struct.pack('<IQI', 0, len(z) - 22, 1) + b'PK\x05\x06'),
        'encrypted.zip': lambda: z[:6] + b'\x01' + z[7:],
        'nested.zip': lambda: plain_zip(base + [('in%d.zip' % i, z) for i in range(100)]),
        'comment.zip': lambda: z[:-2] + struct.pack('<H', 65535) + b'PK\x05\x06' * 16383 + b'PKP',
        'outside.zip': lambda: plain_zip(base + [('../../out.png', good), ('/etc/x.png', good), ('C:\\x.png', good), ('a\nb\x1b[31m.png', good)]),
        'same-names.zip': lambda: plain_zip(base + [('same.png', good)] * 3000),
        'sparse.tar': lambda: pax(sparse),
        'sparse-old.tar': lambda: tar_block(b'a.png', len(good)) + good + bytes(-len(good) % 512) + tar_block(b'b.png', 0, b'S', b'ustar  \0') + bytes(1024),
        'pax-size.tar': lambda: pax({'size': str(1 << 61)}),
        'pax-size-below.tar': lambda: pax({'size': '-5'}),
        'pax-value.tar': lambda: pax({'comment': 'x' * (60 << 20)}),
        'pax-records.tar': lambda: pax({'k%d' % i: 'v' for i in range(200_000)}),
        'pax-path.tar': lambda: pax({'path': 'd/' * 500_000 + 'x.png'}),
        'pax-loops.tar': lambda: many_tar + (tar_block(b'h', 18, b'x') + b'18 comment=abcdef\n' + bytes(494)) * 30_000 + bytes(1024),
        'longname.tar': lambda: many_tar + tar_block(b'././@LongLink', 1 << 30, b'L') + b'x' * 4096,
        'longname-many.tar': lambda: many_tar + (tar_block(b'././@LongLink', 512, b'L') + b'x' * 511 + b'\0') * 50_000 + bytes(1024),
        'size-base256.tar': lambda: many_tar + tar_block(b'b.png', 0, raw_size=b'\x80' + b'\xff' * 11),
        'size-below.tar': lambda: many_tar + tar_block(b'b.png', 0, raw_size=b'\xff' * 12),
        'links.tar': lambda: many_tar + tar_block(b'l.png', 0, b'2') * 100_000 + bytes(1024),
        'empty-entries.tar': lambda: many_tar + b''.join(tar_block(b'%d.png' % i, 0) for i in range(60_000)) + bytes(1024),
        'skip.tar.gz': lambda: gzip.compress(many_tar + tar_block(b'x.bin', 1 << 30)),
        'zeros.tar.zst': lambda: zstd_zeros(100_000),
        'zeros-window.tar.zst': lambda: zstd_zeros(10, 0xff),
        'zeros-window-27.tar.zst': lambda: zstd_zeros(100_000, 0x88),
        'members.tar.gz': lambda: gzip.compress(b'') * 200_000 + gzip.compress(many_tar + bytes(1024)),
        'zeros.tar.gz': lambda: gzip.compress(many_tar + tar_block(b'b.png', 3 << 30) + bytes(200 << 20), 9),
        'empty.tar': lambda: b'',
        'nothing.tar.gz': lambda: gzip.compress(bytes(300 << 20), 9),
    }


def texts():
    """name of a file beside two pictures -> bytes"""
    line = lambda i: b'{"file_name":"%03d.png","text":"t"}\n' % i
    return {
        'jsonl-one-line': ('metadata.jsonl', lambda: b'{"file_name":"000.png","text":"' + b'x' * (40 << 20) + b'"}\n'),
        'jsonl-deep': ('metadata.jsonl', lambda: b'{"file_name":"000.png","x":' + b'[' * 1_000_000 + b'\n'),
        'jsonl-many': ('metadata.jsonl', lambda: line(0) * 600_000),
        'jsonl-fields': ('metadata.jsonl', lambda: b'{"file_name":"000.png"' + b''.join(b',"f%d":1' % i for i in range(800_000)) + b'}\n'),
        'jsonl-captions': ('metadata.jsonl', lambda: b'{"file_name":"000.png","text":[' + b'"a",' * 1_000_000 + b'"b"]}\n'),
        'jsonl-numbers': ('metadata.jsonl', lambda: b'{"file_name":"000.png","x":' + b'9' * 5_000_000 + b'}\n'),
        'jsonl-same-keys': ('metadata.jsonl', lambda: b'{"file_name":"000.png"' + b',"a":1' * 1_000_000 + b'}\n'),
        'jsonl-bad-utf8': ('metadata.jsonl', lambda: b'{"file_name":"000.png","text":"\xff\xfe\x1b[31m"}\n' * 100_000),
        'csv-quote': ('metadata.csv', lambda: b'file_name,text\n000.png,"' + b'a,\n' * 7_000_000),
        'csv-quotes': ('metadata.csv', lambda: b'file_name,text\n000.png,"' + b'""' * 10_000_000 + b'"\n'),
        'csv-columns': ('metadata.csv', lambda: b','.join(b'c%d' % i for i in range(700_000)) + b'\n' + b',' * 700_000 + b'\n'),
        'csv-header-many': ('metadata.csv', lambda: b'file_name' + b',a' * 5_000 + b'\n' + (b'000.png' + b',b' * 5_000 + b'\n') * 1000),
        'csv-lines': ('metadata.csv', lambda: b'file_name,text\n' + b'000.png,a\n' * 2_000_000),
        'caption-large': ('000.txt', lambda: b'word ' * 8_000_000),
        'caption-lines': ('000.txt', lambda: b'w\n' * 4_000_000),
        'caption-misread': ('000.txt', lambda: 'Ã©'.encode() * 2_000_000),
        'caption-utf16': ('000.txt', lambda: b'\xff\xfe' + b'a\0' * 5_000_000),
        'json-sample': ('000.json', lambda: b'{"text":' + b'{"a":' * 500_000),
        'class-name-long': ('metadata.jsonl', lambda: b'{"file_name":"000.png","label":"' + b'c' * 10_000_000 + b'"}\n'),
    }

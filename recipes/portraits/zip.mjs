/** A zip of stored files, all of one date, written beside its place and renamed when complete. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { crc32 } from './crc32.mjs';

const date = ((2026 - 1980) << 9) | (1 << 5) | 1; // the same bytes whenever it is made
const limit = 0xffffffff;

export class ZipWriter {
  constructor(path) {
    this.path = path;
    this.aside = `${path}.${process.pid}.part`;
    this.file = openSync(this.aside, 'w');
    this.entries = [];
    this.offset = 0;
  }

  write(bytes) {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.file, bytes, done);
    this.offset += bytes.length;
  }

  /** What the local header and the central directory share: version, flags, method, time, date, CRC, sizes, name length. */
  static common(name, bytes) {
    const out = Buffer.alloc(26);
    out.writeUInt16LE(20, 0);
    out.writeUInt16LE(0x0800, 2); // UTF-8 names
    out.writeUInt16LE(date, 8);
    out.writeUInt32LE(crc32(bytes), 10);
    out.writeUInt32LE(bytes.length, 14);
    out.writeUInt32LE(bytes.length, 18);
    out.writeUInt16LE(name.length, 22);
    return out;
  }

  add(name, content) {
    const [path, bytes] = [Buffer.from(name), Buffer.from(content)];
    if (this.offset + bytes.length > limit) throw new Error(`${this.path}: more than 4 GiB, expected fewer or smaller pictures`);
    const common = ZipWriter.common(path, bytes);
    this.entries.push({ path, common, offset: this.offset });
    this.write(Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), common, path, bytes]));
  }

  finish() {
    const start = this.offset;
    for (const { path, common, offset } of this.entries) {
      const rest = Buffer.alloc(14);
      rest.writeUInt32LE((0o100644 << 16) >>> 0, 6);
      rest.writeUInt32LE(offset, 10);
      this.write(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03', 'latin1'), common, rest, path]));
    }
    const [size, count] = [this.offset - start, this.entries.length];
    if (count > 0xfffe) this.write(zip64End(count, size, start));
    const end = Buffer.alloc(22);
    end.write('PK\x05\x06', 'latin1');
    end.writeUInt16LE(Math.min(count, 0xffff), 8);
    end.writeUInt16LE(Math.min(count, 0xffff), 10);
    end.writeUInt32LE(size, 12);
    end.writeUInt32LE(start, 16);
    this.write(end);
    closeSync(this.file);
    renameSync(this.aside, this.path);
  }

  /** Leaves nothing behind. */
  abandon() {
    closeSync(this.file);
    rmSync(this.aside, { force: true });
  }
}

/** The zip64 end of central directory and its locator, which more than 65,534 files need. */
function zip64End(count, size, start) {
  const out = Buffer.alloc(76);
  out.write('PK\x06\x06', 'latin1');
  out.writeBigUInt64LE(44n, 4);
  out.writeUInt16LE(45, 12);
  out.writeUInt16LE(45, 14);
  for (const at of [24, 32]) out.writeBigUInt64LE(BigInt(count), at);
  out.writeBigUInt64LE(BigInt(size), 40);
  out.writeBigUInt64LE(BigInt(start), 48);
  out.write('PK\x06\x07', 56, 'latin1');
  out.writeBigUInt64LE(BigInt(start + size), 64);
  out.writeUInt32LE(1, 72);
  return out;
}

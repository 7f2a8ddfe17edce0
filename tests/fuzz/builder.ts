/**
 * A request under construction.
 *
 * @module
 */

const HEADER_SIZE = 40;
const CAPACITY = 1 << 18;

/** The header and what is behind it, little-endian. */
export class Builder {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(CAPACITY);
  readonly view: DataView = new DataView(this.bytes.buffer);
  size = 0;
  /** Where struct fields begin. */
  readonly bodyOffset: number = HEADER_SIZE;

  /** Begins a request; the caller is root. */
  start(opcode: number, unique: number, [lo, hi]: readonly [number, number]): void {
    const { view } = this;
    this.bytes.fill(0, 0, HEADER_SIZE);
    view.setUint32(4, opcode, true);
    view.setUint32(8, unique, true);
    view.setUint32(16, lo, true);
    view.setUint32(20, hi, true);
    view.setUint32(32, 1, true);
    this.size = HEADER_SIZE;
  }

  caller(uid: number, gid: number): this {
    this.view.setUint32(24, uid, true);
    this.view.setUint32(28, gid, true);
    return this;
  }

  u16(value: number): this {
    this.view.setUint16(this.size, value, true);
    this.size += 2;
    return this;
  }

  u32(...values: readonly number[]): this {
    for (const value of values) {
      this.view.setUint32(this.size, value >>> 0, true);
      this.size += 4;
    }
    return this;
  }

  u64(halves: readonly [number, number]): this {
    return this.u32(halves[0], halves[1]);
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.size);
    this.size += bytes.length;
    return this;
  }

  /** With its NUL. */
  name(bytes: Uint8Array): this {
    return this.raw(bytes).raw(NUL);
  }

  /** Bytes of no meaning. */
  pad(size: number): this {
    this.bytes.fill(0xa5, this.size, this.size + size);
    this.size += size;
    return this;
  }

  /** Puts extension blocks behind the rest and says so in the header. */
  extensions(blocks: Uint8Array): this {
    const unaligned = this.size % 8;
    if (unaligned !== 0) this.raw(new Uint8Array(8 - unaligned));
    this.view.setUint16(36, blocks.length / 8, true);
    return this.raw(blocks);
  }

  finish(): void {
    this.view.setUint32(0, this.size, true);
  }
}

const NUL = new Uint8Array(1);

/**
 * The little of ELF (64-bit, little-endian) that adding a segment to a program needs.
 *
 * @module
 */

/** elf.h: Elf64_Ehdr. */
const EHDR = { MACHINE: 18, ENTRY: 24, PHOFF: 32, PHENTSIZE: 54, PHNUM: 56, SIZE: 64 } as const;

/** elf.h: Elf64_Phdr. */
const PHDR = {
  TYPE: 0,
  FLAGS: 4,
  OFFSET: 8,
  VADDR: 16,
  PADDR: 24,
  FILESZ: 32,
  MEMSZ: 40,
  ALIGN: 48,
  SIZE: 56,
} as const;

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_NOTE = 4;
const PF_X = 1;
const PF_R = 4;

/** elf.h: Elf64_Sym and Elf64_Rela. */
const SYM = { NAME: 0, SIZE: 24 } as const;
const RELA = { OFFSET: 0, TYPE: 8, SYMBOL: 12, SIZE: 24 } as const;

const DT = { PLTRELSZ: 2, STRTAB: 5, SYMTAB: 6, RELA: 7, RELASZ: 8, JMPREL: 23 } as const;

/** Machines of `e_machine` known here. */
export const EM = { X86_64: 62, AARCH64: 183 } as const;

/** The relocations that fill a GOT slot with a symbol's address: R_*_GLOB_DAT and R_*_JUMP_SLOT. */
const SLOT_RELOCATIONS: Readonly<Record<number, readonly number[]>> = {
  [EM.X86_64]: [6, 7],
  [EM.AARCH64]: [1025, 1026],
};

/** One program header. */
export interface Segment {
  readonly index: number;
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

/** True if these are the first bytes of a 64-bit little-endian ELF file. */
export function isElf64(bytes: Uint8Array): boolean {
  const magic = [0x7f, 0x45, 0x4c, 0x46, 2, 1];
  return bytes.length >= EHDR.SIZE && magic.every((byte, index) => bytes[index] === byte);
}

/** An ELF program in memory that can be given one more segment. */
export class ElfImage {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  /** Takes the bytes of a whole file; throws if they are not a 64-bit little-endian ELF. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    if (!isElf64(bytes)) throw new TypeError("Cannot read as ELF: not a 64-bit little-endian file");
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The processor: one of {@linkcode EM}, or another number. */
  get machine(): number {
    return this.#view.getUint16(EHDR.MACHINE, true);
  }

  /** Address of the first instruction. */
  get entry(): number {
    return this.#u64(EHDR.ENTRY);
  }

  /** All program headers in order. */
  segments(): Segment[] {
    const count = this.#view.getUint16(EHDR.PHNUM, true);
    return Array.from({ length: count }, (_, index) => {
      const at = this.#segmentOffset(index);
      return {
        index,
        type: this.#view.getUint32(at + PHDR.TYPE, true),
        offset: this.#u64(at + PHDR.OFFSET),
        address: this.#u64(at + PHDR.VADDR),
        fileSize: this.#u64(at + PHDR.FILESZ),
        memorySize: this.#u64(at + PHDR.MEMSZ),
        alignment: this.#u64(at + PHDR.ALIGN),
      };
    });
  }

  /** The first address behind all segments where one more can begin. */
  freeAddress(): number {
    const loads = this.segments().filter(({ type }) => type === PT_LOAD);
    const end = Math.max(...loads.map(({ address, memorySize }) => address + memorySize));
    return alignUp(end, this.#pageSize());
  }

  /**
   * Address of the GOT slot of an imported symbol: after relocation the symbol's address is there, or,
   * for a function of a lazily bound program, code that finds it when called.
   */
  gotSlot(name: string): number {
    const types = SLOT_RELOCATIONS[this.machine] ?? [];
    const dynamic = this.#dynamic();
    const symbols = this.#fileOffset(required(dynamic, DT.SYMTAB));
    const strings = this.#fileOffset(required(dynamic, DT.STRTAB));
    for (const at of this.#relocations(dynamic)) {
      if (!types.includes(this.#view.getUint32(at + RELA.TYPE, true))) continue;
      const symbol = symbols + this.#view.getUint32(at + RELA.SYMBOL, true) * SYM.SIZE;
      const text = strings + this.#view.getUint32(symbol + SYM.NAME, true);
      if (this.#hasString(text, name)) return this.#u64(at + RELA.OFFSET);
    }
    throw new Error(`Cannot use this program: it has no GOT slot for "${name}"`);
  }

  /**
   * A new file: this one with the bytes as a readable, executable segment at the address, and with
   * another entry. The program header comes from the note segment, which nothing needs at run time.
   */
  withSegment(content: Uint8Array, address: number, entry: number): Uint8Array<ArrayBuffer> {
    const note = this.segments().findLast(({ type }) => type === PT_NOTE);
    if (note === undefined) throw new Error("Cannot add a segment: no note header to make it from");
    const later = this.segments().slice(note.index).some((segment) => segment.type === PT_LOAD);
    if (later) throw new Error("Cannot add a segment: load headers must be in order of address");
    const alignment = this.#pageSize();
    const offset = alignUp(this.#bytes.length, alignment);
    const result = new Uint8Array(offset + content.length);
    result.set(this.#bytes);
    result.set(content, offset);
    const view = new DataView(result.buffer);
    const put = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
    const header = this.#segmentOffset(note.index);
    view.setUint32(header + PHDR.TYPE, PT_LOAD, true);
    view.setUint32(header + PHDR.FLAGS, PF_R | PF_X, true);
    put(header + PHDR.OFFSET, offset);
    put(header + PHDR.VADDR, address);
    put(header + PHDR.PADDR, address);
    put(header + PHDR.FILESZ, content.length);
    put(header + PHDR.MEMSZ, content.length);
    put(header + PHDR.ALIGN, alignment);
    put(EHDR.ENTRY, entry);
    return result;
  }

  #u64(at: number): number {
    const value = Number(this.#view.getBigUint64(at, true));
    if (!Number.isSafeInteger(value)) throw new RangeError("Cannot use an offset beyond 2^53");
    return value;
  }

  #segmentOffset(index: number): number {
    const size = this.#view.getUint16(EHDR.PHENTSIZE, true);
    if (size !== PHDR.SIZE) throw new Error(`Cannot read program headers of ${size} bytes`);
    return this.#u64(EHDR.PHOFF) + index * size;
  }

  #pageSize(): number {
    return Math.max(...this.segments().filter((s) => s.type === PT_LOAD).map((s) => s.alignment));
  }

  #fileOffset(address: number): number {
    const segment = this.segments().find((s) =>
      s.type === PT_LOAD && address >= s.address && address < s.address + s.fileSize
    );
    if (segment === undefined) throw new Error(`Cannot find address ${address} in the file`);
    return segment.offset + (address - segment.address);
  }

  #dynamic(): Map<number, number> {
    const segment = this.segments().find(({ type }) => type === PT_DYNAMIC);
    if (segment === undefined) throw new Error("Cannot use this program: not dynamically linked");
    const entries = new Map<number, number>();
    for (let at = segment.offset; at < segment.offset + segment.fileSize; at += 16) {
      const tag = this.#view.getUint32(at, true);
      if (tag === 0) break;
      // Tags of vendors (DT_GNU_HASH, DT_FLAGS_1, ...) are of no use here.
      if (tag < 0x6000_0000) entries.set(tag, this.#u64(at + 8));
    }
    return entries;
  }

  /** File offsets of all relocations, those of the procedure linkage table behind the others. */
  *#relocations(dynamic: Map<number, number>): Generator<number> {
    for (const [table, size] of [[DT.RELA, DT.RELASZ], [DT.JMPREL, DT.PLTRELSZ]] as const) {
      if (!dynamic.has(table)) continue;
      const start = this.#fileOffset(required(dynamic, table));
      const end = start + required(dynamic, size);
      for (let at = start; at < end; at += RELA.SIZE) yield at;
    }
  }

  #hasString(at: number, text: string): boolean {
    for (let index = 0; index < text.length; index++) {
      if (this.#bytes[at + index] !== text.charCodeAt(index)) return false;
    }
    return this.#bytes[at + text.length] === 0;
  }
}

function required(dynamic: Map<number, number>, tag: number): number {
  const value = dynamic.get(tag);
  if (value === undefined) throw new Error(`Cannot use this program: no dynamic entry ${tag}`);
  return value;
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/**
 * Mapping a region of the guest's memory that the front end shares with us.
 *
 * What is checked here keeps the daemon alive: memory beyond the end of its file is there to map, but touching it is
 * SIGBUS. A front end that shrinks the file later can still kill the daemon that way; it shares its whole memory with
 * us, so that is a front end killing its own device.
 *
 * @module
 */

import { libc, status } from "../sys/libc.ts";
import { errnoName } from "../sys/errno.ts";
import { mapAddress, NativeMemory, unmapAddress } from "../sys/native_memory.ts";
import {
  AT_EMPTY_PATH,
  MAP_NORESERVE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  S_IFMT,
  S_IFREG,
  STATX,
  STATX_BASIC_STATS,
} from "../wire/linux.ts";
import type { RegionAddresses } from "./guest_memory.ts";

/** A region as the front end describes it: struct VhostUserMemoryRegion. All values are below 2^53. */
export interface RegionDescription {
  readonly guestAddress: number;
  readonly size: number;
  readonly userAddress: number;
  /** Where the region begins in its file. */
  readonly mmapOffset: number;
}

/** A multiple of every page size that Linux has (4, 16 and 64 KiB). */
const PAGE_SIZE_MULTIPLE = 65536;
/** Nothing that is mapped has larger pages: 16 GiB on some machines. */
const HUGE_PAGE_SIZE_MAX = 2 ** 34;

/** A region with its mapping. It has no views of its bytes: the device's threads make theirs from the addresses. */
export class MappedRegion {
  readonly addresses: RegionAddresses;
  readonly #mappedAddress: number;
  readonly #mappedSize: number;
  #mapped = true;

  private constructor(addresses: RegionAddresses, mappedAddress: number, mappedSize: number) {
    this.addresses = addresses;
    this.#mappedAddress = mappedAddress;
    this.#mappedSize = mappedSize;
  }

  /** Maps a region of `fd`, which is not needed afterwards. Throws an Error that says why it cannot be mapped. */
  static map(fd: number, description: RegionDescription): MappedRegion {
    const { guestAddress, userAddress, size, mmapOffset } = description;
    const file = inspectFile(fd);
    const end = mmapOffset + size;
    if (file.regular && end > file.size) {
      throw new Error(`the file of ${file.size} bytes ends before the region does, at ${end}`);
    }
    // mmap(2) wants offsets, and munmap(2) lengths, in pages; a huge page file's block size says how large they are.
    const start = mmapOffset - mmapOffset % file.alignment;
    const mappedSize = Math.ceil((end - start) / file.alignment) * file.alignment;
    const protection = PROT_READ | PROT_WRITE;
    const mapped = mapAddress(null, mappedSize, protection, MAP_SHARED | MAP_NORESERVE, fd, start);
    const hostAddress = mapped + (mmapOffset - start);
    const addresses = { guestAddress, userAddress, hostAddress, size };
    return new MappedRegion(addresses, mapped, mappedSize);
  }

  /** Gives the memory back. No thread may have a view of it any more. */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    unmapAddress(this.#mappedAddress, this.#mappedSize);
  }
}

/** Why these regions cannot stand beside each other, or null. */
export function regionConflict(regions: readonly RegionDescription[]): string | null {
  for (const { guestAddress, userAddress, size, mmapOffset } of regions) {
    if (size === 0) return `the region at guest address ${hex(guestAddress)} has no bytes`;
    const end = Math.max(guestAddress, userAddress, mmapOffset) + size;
    if (end > Number.MAX_SAFE_INTEGER) {
      return `the region at guest address ${hex(guestAddress)} ends beyond 2^53`;
    }
  }
  return overlap(regions, (region) => region.guestAddress, "guest") ??
    overlap(regions, (region) => region.userAddress, "front end");
}

function overlap(
  regions: readonly RegionDescription[],
  addressOf: (region: RegionDescription) => number,
  whose: string,
): string | null {
  const sorted = [...regions].sort((a, b) => addressOf(a) - addressOf(b));
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!;
    if (addressOf(before) + before.size > addressOf(sorted[i]!)) {
      const address = hex(addressOf(sorted[i]!));
      return `two regions overlap at ${whose} address ${address}`;
    }
  }
  return null;
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}

/** An empty path, then struct statx. */
const STATX_AT = 8;
let scratch: NativeMemory | null = null;

function inspectFile(fd: number): { regular: boolean; size: number; alignment: number } {
  scratch ??= NativeMemory.allocate(STATX_AT + STATX.SIZE);
  const result = status(
    libc.statx(
      fd,
      scratch.pointerAt(0),
      AT_EMPTY_PATH,
      STATX_BASIC_STATS,
      scratch.pointerAt(STATX_AT),
    ),
  );
  if (result < 0) {
    throw new Error(`its file descriptor cannot be looked at: ${errnoName(result)}`);
  }
  const blockSize = scratch.view.getUint32(STATX_AT + STATX.BLKSIZE, true);
  const powerOfTwo = blockSize > 0 && blockSize <= HUGE_PAGE_SIZE_MAX &&
    Number.isInteger(Math.log2(blockSize));
  return {
    regular: (scratch.view.getUint16(STATX_AT + STATX.MODE, true) & S_IFMT) === S_IFREG,
    size: scratch.u64(STATX_AT + STATX.SIZE_),
    alignment: powerOfTwo ? Math.max(blockSize, PAGE_SIZE_MULTIPLE) : PAGE_SIZE_MULTIPLE,
  };
}

/**
 * How a request lies in the ring: as drivers do it, in pieces, in indirect tables, and as no driver may.
 *
 * @module
 */

import type { Random } from "./random.ts";

/** One descriptor. */
export interface Piece {
  address: number;
  size: number;
  flags: number;
  next: number;
}

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

/** Where things lie in the guest's memory. */
export const AT = {
  DESC: 0,
  AVAIL: 0x1000,
  USED: 0x2000,
  INDIRECT: 0x4000,
  REQUEST: 0x10000,
  REPLY: 0x60000,
  END: 0x180000,
} as const;
export const QUEUE_SIZE = 64;

/** A chain, and what may be expected of it. */
export interface Chain {
  readonly pieces: Piece[];
  /** In a table of its own. */
  readonly isIndirect: boolean;
  /** A driver may do it: it must be answered. */
  readonly isSound: boolean;
  /** Where the reply is to be found; null where it may have been written to in several ways. */
  readonly reply: number | null;
  readonly room: number;
}

function split(pieces: Piece[], from: number, size: number, flags: number, random: Random): void {
  let done = 0;
  const parts = random.oneIn(3) ? 1 + random.below(5) : 1;
  for (let i = 1; done < size; i++) {
    const rest = size - done;
    const piece = i >= parts ? rest : random.below(rest + 1);
    pieces.push({ address: from + done, size: piece, flags, next: 0 });
    done += piece;
  }
}

/** Lays a request of `size` bytes out. */
export function layOut(random: Random, size: number, room: number): Chain {
  const pieces: Piece[] = [];
  split(pieces, AT.REQUEST, size, 0, random);
  split(pieces, AT.REPLY, room, WRITE, random);
  if (pieces.length === 0) pieces.push({ address: AT.REQUEST, size: 0, flags: 0, next: 0 });
  const isIndirect = random.oneIn(4);
  const chain = { pieces, isIndirect, isSound: true, reply: AT.REPLY, room };
  return random.oneIn(25) ? spoil(random, chain) : chain;
}

function spoil(random: Random, chain: Chain): Chain {
  const { pieces } = chain;
  const piece = random.pick(pieces);
  const [lo, hi] = random.edge();
  const spoilt = { ...chain, isSound: false };
  switch (random.below(8)) {
    case 0:
      piece.address = lo + hi * 2 ** 32;
      return { ...spoilt, reply: null };
    case 1:
      piece.size = random.oneIn(2) ? lo : AT.END;
      return { ...spoilt, reply: null };
    case 2:
      piece.flags ^= WRITE;
      return { ...spoilt, reply: null };
    case 3:
      piece.flags ^= INDIRECT;
      return { ...spoilt, reply: null };
    case 4:
      // Everything in the same place: what is read is written to, and the other way round.
      for (const one of pieces) one.address = AT.REQUEST + random.below(64);
      return { ...spoilt, reply: null };
    case 5:
      // Over the rings.
      piece.address = random.below(AT.INDIRECT);
      return { ...spoilt, reply: null };
    case 6:
      pieces.sort(() => random.below(3) - 1);
      return { ...spoilt, reply: null };
    default:
      // Ends elsewhere: marked by a next that is no index here.
      piece.next = -1 - random.below(QUEUE_SIZE + 8);
      return { ...spoilt, reply: null };
  }
}

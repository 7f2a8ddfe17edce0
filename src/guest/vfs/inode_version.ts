/**
 * What cache mode "shared" keeps beside an inode (see `versions.ts`).
 *
 * @module
 */

/** Under which version an inode is known. */
export class InodeVersion {
  /** Its slot; 0: it has none, and nothing is kept. */
  index = 0;
  /** The version, as two signed words. */
  low = 0;
  high = 0;
  /** Whether what is kept was asked for while nobody was changing anything, and nobody has since, as far as we have looked. */
  proven = false;
  /** Changes of ours that have been sent since then, and those that are still on their way. */
  sent = 0;
  outstanding = 0;
  /** One of them has failed. */
  failed = false;
}

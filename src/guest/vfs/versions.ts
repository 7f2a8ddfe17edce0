/**
 * Cache mode "shared": whether what the guest knows of an inode still holds, by one look into the table of versions
 * (wire/shared_versions.ts), and what its own changes mean for that.
 *
 * Everything that is kept of an inode (attributes, names, listing, target, data) is kept under one version: that which its slot had
 * before the first of it was asked for. When the slot has another value all of it goes together.
 *
 * A change of ours moves the slot, too. If it has moved on by exactly our changes, nobody else changed anything in between, and what is known
 * (with the changes applied) holds under the new value. Otherwise somebody did, before or after us: it all goes.
 *
 * @module
 */

import { CHANGE } from "../../wire/shared_versions.ts";
import type { FuseClient } from "../client/fuse_client.ts";
import type { EntryReply } from "../client/replies.ts";
import { isStable, type VersionTable } from "../client/version_table.ts";
import type { Inode } from "./inode.ts";
import type { InodeVersion } from "./inode_version.ts";

const WORD = 4294967296;

/** The versions of one volume's inodes. */
export class Versions {
  readonly #client: FuseClient;
  readonly #table: VersionTable | null;
  readonly #forget: (inode: Inode) => void;
  readonly #warn: (message: string) => void;
  #warned = false;

  /** Without a table nothing is ever known to hold. `forget` drops everything that is kept of an inode. */
  constructor(
    client: FuseClient,
    table: VersionTable | null,
    forget: (inode: Inode) => void,
    warn: (message: string) => void,
  ) {
    this.#client = client;
    this.#table = table;
    this.#forget = forget;
    this.#warn = warn;
  }

  /** Whether what is kept of an inode holds now. */
  holds(inode: Inode): boolean {
    const { version } = inode;
    return version.proven && this.#table!.holds(version.index, version.low, version.high);
  }

  /**
   * Before something is served from what is kept, or asked for: makes what is kept that which holds now, be it nothing. Returns whether what
   * is asked for from here on may be kept.
   */
  observe(inode: Inode): boolean {
    const { version } = inode;
    while (version.outstanding > 0) {
      // Only then it is known what the slot should have come to.
      this.#client.driver.publish();
      this.#client.progress();
    }
    if (this.holds(inode)) return true;
    this.#look(version);
    this.#forget(inode);
    return version.proven;
  }

  /**
   * Takes over what a reply says of an inode's version, which was read before the attributes. `isOwn`: the request was a change of ours that
   * named the inode. Returns whether the reply's attributes hold under the version that the inode has then.
   */
  adopt(inode: Inode, entry: EntryReply, isOwn: boolean): boolean {
    const { version } = inode;
    const { versionIndex, versionLow, versionHigh } = entry;
    const isSame = version.proven && version.index === versionIndex &&
      version.low === versionLow && version.high === versionHigh;
    if (isSame) return true;
    // The slot is further than the reply says, and all of that was ours.
    if (version.index === versionIndex && this.holds(inode)) return isOwn;
    const isInRange = this.#table !== null && this.#table.isInRange(versionIndex);
    if (!isInRange && versionIndex !== 0 && this.#table !== null) this.#warnOfIndex(versionIndex);
    version.index = isInRange ? versionIndex : 0;
    version.low = versionLow;
    version.high = versionHigh;
    version.proven = isInRange && isStable(versionLow);
    this.#forget(inode);
    // What had to be written back was a change, and has come after these attributes.
    return version.proven && version.low === versionLow && version.high === versionHigh;
  }

  /** A request of ours that changes an inode is about to be sent: once for each inode, whatever its roles. */
  changing(inode: Inode): void {
    const { version } = inode;
    if (version.outstanding === 0) {
      // What has been overtaken goes when it is looked at: the caller may be in the middle of it.
      version.proven = this.holds(inode);
      version.sent = 0;
      version.failed = false;
    }
    version.sent++;
    version.outstanding++;
  }

  /** Its reply is there. */
  changed(inode: Inode, succeeded: boolean): void {
    const { version } = inode;
    version.outstanding--;
    if (!succeeded) version.failed = true;
    if (version.outstanding > 0 || !version.proven) return;
    // What failed may have moved the slot or not: that it was only us is certain where it has not moved at all.
    const low = (version.low >>> 0) + (version.failed ? 0 : version.sent * CHANGE);
    version.low = low | 0;
    version.high = (version.high + Math.floor(low / WORD)) | 0;
    version.proven = this.holds(inode);
  }

  /** The session ends, and the table's memory goes. */
  close(): void {
    this.#table?.close();
  }

  #look(version: InodeVersion): void {
    version.proven = false;
    if (version.index === 0) return;
    const table = this.#table!;
    if (!table.isInRange(version.index)) return;
    table.read(version.index);
    version.low = table.low;
    version.high = table.high;
    version.proven = isStable(table.low);
  }

  #warnOfIndex(index: number): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#warn(
      `The daemon says that an inode's version is in slot ${index}, and the table has ${
        this.#table!.slotCount
      }: such inodes are not cached`,
    );
  }
}

/**
 * Writes cpio archives in the "newc" form, which the kernel unpacks as its initramfs.
 *
 * @module
 */

/** One member: a directory if it has no content. */
export interface CpioMember {
  readonly path: string;
  readonly mode: number;
  readonly content?: Uint8Array;
  /** Major and minor number of a character device. */
  readonly device?: readonly [number, number];
}

const encoder = new TextEncoder();
const ALIGNMENT = 4;

function header(member: CpioMember, inode: number, size: number): string {
  const [major, minor] = member.device ?? [0, 0];
  const nameSize = encoder.encode(member.path).length + 1;
  const fields = [inode, member.mode, 0, 0, 1, 0, size, 0, 0, major, minor, nameSize, 0];
  return "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
}

function padded(parts: Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(Math.ceil(length / ALIGNMENT) * ALIGNMENT);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The archive of some members, in their order: directories come before what is in them. */
export function cpioArchive(members: readonly CpioMember[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [index, member] of [...members, { path: "TRAILER!!!", mode: 0 }].entries()) {
    const content = member.content ?? new Uint8Array(0);
    parts.push(
      padded([encoder.encode(`${header(member, index + 1, content.length)}${member.path}\0`)]),
    );
    parts.push(padded([content]));
  }
  return padded(parts);
}

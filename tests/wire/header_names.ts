/**
 * What each number of `src/wire/`, `src/sys/errno.ts` and `src/sys/architecture.ts` is called in the C headers, so that a compiler can
 * be asked about it. A number that is in no header (a limit of our own, the shape of a specification) is
 * listed as ours, with the reason: nothing is left out silently.
 *
 * @module
 */

import { ARCHITECTURE } from "../../src/sys/architecture.ts";
import * as architecture from "../../src/sys/architecture.ts";
import * as errno from "../../src/sys/errno.ts";
import * as fanotify from "../../src/wire/fanotify.ts";
import * as fuse from "../../src/wire/fuse.ts";
import * as inotify from "../../src/wire/inotify.ts";
import * as isolation from "../../src/wire/isolation.ts";
import * as linux from "../../src/wire/linux.ts";
import { SYSTEM_CALLS } from "../../src/wire/system_calls.ts";
import * as virtioFs from "../../src/wire/virtio_fs.ts";
import * as virtioRing from "../../src/wire/virtio_ring.ts";

/**
 * A number in our sources and the question to the compiler about it: `sizeof fuse_attr`, `fuse_attr.ino` (its
 * offset), or an expression.
 */
export interface HeaderFact {
  readonly ours: string;
  readonly question: string;
  readonly value: number;
}

interface StructName {
  readonly struct: string;
  /** What the header puts before each member's name. */
  readonly prefix?: string;
  /** Members that the rule "lower case" does not find; null = in no header. */
  readonly members?: Readonly<Record<string, string | null>>;
}

const FUSE_STRUCTS: Readonly<Record<string, StructName>> = {
  STATFS_OUT: { struct: "fuse_kstatfs" },
  LK_IN: { struct: "fuse_lk_in" },
  // Where the protocol ends a struct earlier for old peers: fuse.h has macros for two of them.
  SETXATTR_IN: {
    struct: "fuse_setxattr_in",
    members: { COMPAT_SIZE: "FUSE_COMPAT_SETXATTR_IN_SIZE" },
  },
  INIT_IN: {
    struct: "fuse_init_in",
    members: { COMPAT_SIZE: "offsetof(struct fuse_init_in, flags2)" },
  },
  DIRENTPLUS: {
    struct: "fuse_direntplus",
    members: { ENTRY: "fuse_direntplus.entry_out", NAME: "FUSE_NAME_OFFSET_DIRENTPLUS" },
  },
};

const LINUX_STRUCTS: Readonly<Record<string, StructName>> = {
  STATX: { struct: "statx", prefix: "stx_", members: { RDEV_MAJOR: "statx.stx_rdev_major" } },
  STATX_TIMESTAMP: { struct: "statx_timestamp", prefix: "tv_" },
  // The kernel keeps linux_dirent64 to itself; libc's dirent64 is the same.
  DIRENT64: { struct: "dirent64", prefix: "d_" },
  IOVEC: { struct: "iovec", prefix: "iov_" },
  STATFS: { struct: "statfs", prefix: "f_" },
  FLOCK: { struct: "flock", prefix: "l_" },
  TIMESPEC: { struct: "timespec", prefix: "tv_" },
  FILE_HANDLE: {
    struct: "file_handle",
    prefix: "handle_",
    members: { HANDLE: "file_handle.f_handle" },
  },
  POLLFD: { struct: "pollfd" },
  MSGHDR: { struct: "msghdr", prefix: "msg_" },
  CMSGHDR: { struct: "cmsghdr", prefix: "cmsg_", members: { DATA: "CMSG_LEN(0)" } },
};

const NOTIFY_STRUCTS: Readonly<Record<string, StructName>> = {
  FANOTIFY_EVENT_METADATA: { struct: "fanotify_event_metadata" },
  FANOTIFY_EVENT_INFO_HEADER: { struct: "fanotify_event_info_header" },
  FANOTIFY_EVENT_INFO_FID: { struct: "fanotify_event_info_fid" },
  INOTIFY_EVENT: { struct: "inotify_event" },
};

const ISOLATION_STRUCTS: Readonly<Record<string, StructName>> = {
  SECCOMP_DATA: { struct: "seccomp_data" },
  SOCK_FILTER: { struct: "sock_filter" },
  SOCK_FPROG: { struct: "sock_fprog" },
  MOUNT_ATTR: {
    struct: "mount_attr",
    members: {
      SET: "offsetof(struct mount_attr, attr_set)",
      CLR: "offsetof(struct mount_attr, attr_clr)",
    },
  },
  SIGACTION: {
    struct: "sigaction",
    members: {
      HANDLER: "offsetof(struct sigaction, sa_handler)",
      FLAGS: "offsetof(struct sigaction, sa_flags)",
    },
  },
  SIGINFO_SYS: {
    struct: "siginfo",
    members: {
      SIGNO: "offsetof(siginfo_t, si_signo)",
      SYSCALL: "offsetof(siginfo_t, si_syscall)",
      ARCH: "offsetof(siginfo_t, si_arch)",
    },
  },
};

const VIRTIO_STRUCTS: Readonly<Record<string, StructName>> = {
  DESC: { struct: "vring_desc" },
  AVAIL: {
    struct: "vring_avail",
    members: { ELEM_SIZE: "sizeof(((struct vring_avail *)0)->ring[0])" },
  },
  USED: {
    struct: "vring_used",
    members: {
      ELEM_ID: "vring_used_elem.id",
      ELEM_LEN: "vring_used_elem.len",
      ELEM_SIZE: "sizeof vring_used_elem",
    },
  },
  VIRTIO_FS_CONFIG: {
    struct: "virtio_fs_config",
    members: { TAG_SIZE: "sizeof(((struct virtio_fs_config *)0)->tag)" },
  },
};

/** Constants whose name is another in the headers; null = ours, or a specification's that has no header. */
const CONSTANTS: Readonly<Record<string, string | null>> = {
  // fuse.h
  FUSE_MINOR_VERSION_MIN: null, // the oldest that is served
  OPCODE_COUNT: null, // checked against Opcode by fuse_test.ts
  FUSE_INVALID_UIDGID: "(uint32_t)-1", // fuse.h: FUSE_INVALID_UIDGID is ((uint32_t)(-1)), and only in new headers
  // Linux
  DIRENT64_SIZE_MAX: null, // derived: NAME_MAX
  IOV_MAX: "UIO_MAXIOV",
  CAPABILITY_VERSION_3: "_LINUX_CAPABILITY_VERSION_3",
  // libc adds O_DIRECTORY to it.
  __O_TMPFILE: "(__O_TMPFILE & ~O_DIRECTORY)",
  O_LARGEFILE: null, // libc hides it (0) on 64-bit machines
  // virtio
  VIRTQ_DESC_F_NEXT: "VRING_DESC_F_NEXT",
  VIRTQ_DESC_F_WRITE: "VRING_DESC_F_WRITE",
  VIRTQ_DESC_F_INDIRECT: "VRING_DESC_F_INDIRECT",
  VIRTQ_AVAIL_F_NO_INTERRUPT: "VRING_AVAIL_F_NO_INTERRUPT",
  VIRTQ_USED_F_NO_NOTIFY: "VRING_USED_F_NO_NOTIFY",
  VIRTIO_F_INDIRECT_DESC: "VIRTIO_RING_F_INDIRECT_DESC",
  VIRTIO_F_EVENT_IDX: "VIRTIO_RING_F_EVENT_IDX",
  VHOST_USER_F_PROTOCOL_FEATURES: null, // the vhost-user document's
  VIRTQ_SIZE_MAX: null, // virtio 1.3, 2.7
  HIPRIO_QUEUE: null, // virtio 1.3, 5.11.2
  FIRST_REQUEST_QUEUE: null, // virtio 1.3, 5.11.2
};

/** linux/magic.h */
const FILE_SYSTEM_MAGIC: Readonly<Record<string, string>> = {
  TMPFS: "TMPFS_MAGIC",
};

function structFacts(
  ours: string,
  fields: Readonly<Record<string, number>>,
  name: StructName,
): HeaderFact[] {
  const facts: HeaderFact[] = [];
  for (const [key, value] of Object.entries(fields)) {
    let question: string | null = name.members?.[key] ?? null;
    if (name.members?.[key] === undefined) {
      // SIZE is the struct's own; a member called "size" is SIZE_ with us.
      const member = (name.prefix ?? "") + key.toLowerCase().replace(/_$/, "");
      question = key === "SIZE" ? `sizeof ${name.struct}` : `${name.struct}.${member}`;
    }
    if (question !== null) facts.push({ ours: `${ours}.${key}`, question, value });
  }
  return facts;
}

function constantFact(ours: string, name: string, value: number): HeaderFact[] {
  const known = CONSTANTS[name];
  if (known === null) return [];
  return [{ ours, question: known ?? name, value }];
}

function moduleFacts(
  module: string,
  exports: Readonly<Record<string, unknown>>,
  structs: Readonly<Record<string, StructName>>,
  structOf: (name: string) => StructName,
): HeaderFact[] {
  const facts: HeaderFact[] = [];
  for (const [name, value] of Object.entries(exports)) {
    const ours = `${module} ${name}`;
    if (typeof value === "number") {
      // The high word of the INIT flags: the header has them as bits of one 64-bit number.
      if (name.startsWith("FUSE2_")) {
        facts.push({
          ours,
          question: name.replace("FUSE2_", "FUSE_"),
          value: value * 2 ** 32,
        });
      } else facts.push(...constantFact(ours, name, value));
    } else if (typeof value === "object" && value !== null) {
      const fields = value as Record<string, number>;
      if (name === "Opcode") {
        for (const [opcode, number] of Object.entries(fields)) {
          facts.push({ ours: `${ours}.${opcode}`, question: `FUSE_${opcode}`, value: number });
        }
      } else if (name === "CAPABILITY") {
        for (const [capability, number] of Object.entries(fields)) {
          facts.push({
            ours: `${ours}.${capability}`,
            question: `CAP_${capability}`,
            value: number,
          });
        }
      } else if (name === "FILE_SYSTEM_MAGIC") {
        for (const [key, magic] of Object.entries(fields)) {
          const question = FILE_SYSTEM_MAGIC[key] ?? `${key}_SUPER_MAGIC`;
          facts.push({ ours: `${ours}.${key}`, question, value: magic });
        }
      } else facts.push(...structFacts(ours, fields, structs[name] ?? structOf(name)));
    }
  }
  return facts;
}

/** Structs outside fuse.h have no rule: a new one has to be named above. */
function unnamed(name: string): never {
  throw new Error(`Which C struct is ${name}? Name it in tests/wire/header_names.ts`);
}

/** Everything that does not depend on the architecture. */
export function headerFacts(): HeaderFact[] {
  return [
    ...moduleFacts(
      "fuse",
      fuse,
      FUSE_STRUCTS,
      (name) => ({ struct: `fuse_${name.toLowerCase()}` }),
    ),
    ...moduleFacts("linux", linux, LINUX_STRUCTS, unnamed),
    ...moduleFacts("isolation", isolation, ISOLATION_STRUCTS, unnamed),
    ...moduleFacts("fanotify", fanotify, NOTIFY_STRUCTS, unnamed),
    ...moduleFacts("inotify", inotify, NOTIFY_STRUCTS, unnamed),
    ...moduleFacts("virtio_ring", virtioRing, VIRTIO_STRUCTS, unnamed),
    ...moduleFacts("virtio_fs", virtioFs, VIRTIO_STRUCTS, unnamed),
    ...moduleFacts("errno", errno, {}, unnamed),
  ];
}

/** System calls that headers of 2022 (Debian 12) do not know; they have one number everywhere. */
export const NEWER_CALLS: ReadonlySet<string> = new Set(["fchmodat2"]);

/** What differs between architectures; asked only of a compiler for the machine that runs the test. */
export function architectureFacts(): HeaderFact[] {
  const facts: HeaderFact[] = [];
  for (const [name, value] of Object.entries(architecture)) {
    if (typeof value === "number") facts.push(...constantFact(`architecture ${name}`, name, value));
  }
  const column = ARCHITECTURE.name === "x86_64" ? 0 : 1;
  for (const [name, numbers] of Object.entries(SYSTEM_CALLS)) {
    const value = numbers[column];
    if (value !== null && !NEWER_CALLS.has(name)) {
      facts.push({ ours: `system_calls ${name}`, question: `__NR_${name}`, value });
    }
  }
  for (const [name, value] of Object.entries(ARCHITECTURE.syscalls)) {
    facts.push({ ours: `architecture syscalls.${name}`, question: `__NR_${name}`, value });
  }
  const { data, size } = ARCHITECTURE.epollEvent;
  facts.push({ ours: "architecture epollEvent.data", question: "epoll_event.data", value: data });
  facts.push({ ours: "architecture epollEvent.size", question: "sizeof epoll_event", value: size });
  return facts;
}

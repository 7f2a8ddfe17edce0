/**
 * What is measured: one entry per row of the table.
 *
 * A row prepares its paths before the clock starts; what is measured is a bare loop of system calls. Every job has a
 * directory of its own. The rows of one round follow each other on the same files: what "create" makes,
 * "stat" looks at, "rename" renames and "unlink" removes.
 *
 * @module
 */

import {
  BUFFER_SIZE,
  close,
  type CPath,
  cPath,
  list,
  mkdir,
  O,
  open,
  pread,
  pwrite,
  rename,
  stat,
  unlink,
} from "./syscalls.ts";

/** How much each row does, over all its jobs together. */
export interface Amounts {
  readonly files: number;
  readonly randomOperations: number;
  /** Bytes of the large file. */
  readonly fileSize: number;
}

/** What one job works with. */
export interface Job {
  /** The job's own directory; it outlives the row. */
  readonly dir: string;
  /** A directory of {@linkcode LARGE_DIRECTORY_COUNT} files, made by the host. */
  readonly largeDir: string;
  readonly files: number;
  readonly randomOperations: number;
  readonly fileSize: number;
  /** Different in each job. */
  readonly seed: number;
}

/** One measurement. */
export interface Row {
  readonly name: string;
  /**
   * Whether the guest's caches are dropped first (cold), or left as the row before has filled them (warm); rows
   * that make something, or go around the caches, need no telling.
   */
  readonly state: "cold" | "warm" | "";
  /** Bytes of one operation, for rows of data. */
  readonly unitSize?: number;
  /** Only with one job: several would do the same to the same. */
  readonly isSingle?: boolean;
  /** Rows whose files this one works on. */
  readonly needs?: readonly string[];
  /** Prepares the row for one job; what it returns is measured, and returns the count of operations. */
  readonly run: (job: Job) => () => number;
}

/** Files in the large directory. */
export const LARGE_DIRECTORY_COUNT = 100_000;
const SMALL = 4096;

function paths(job: Job, prefix: string): CPath[] {
  return Array.from({ length: job.files }, (_, i) => cPath(`${job.dir}/${prefix}${i}`));
}

/** Offsets within the file in a repeatable scattered order (a linear congruential generator, Numerical Recipes). */
function offsets(job: Job): number[] {
  let state = job.seed >>> 0;
  return Array.from({ length: job.randomOperations }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * (job.fileSize / SMALL)) * SMALL;
  });
}

function forEach(items: readonly CPath[], action: (path: CPath) => void): () => number {
  return () => {
    for (let i = 0; i < items.length; i++) action(items[i]!);
    return items.length;
  };
}

function filePath(job: Job): CPath {
  return cPath(`${job.dir}/large`);
}

/** The rows, in the order in which they run. */
export const ROWS: readonly Row[] = [
  {
    name: "create",
    state: "",
    run(job) {
      mkdir(`${job.dir}/files`);
      return forEach(
        paths(job, "files/f"),
        (path) => close(open(path, O.WRONLY | O.CREAT | O.EXCL)),
      );
    },
  },
  {
    name: "stat",
    state: "cold",
    needs: ["create"],
    run: (job) => forEach(paths(job, "files/f"), (path) => stat(path, false)),
  },
  {
    name: "getattr",
    state: "warm",
    needs: ["create"],
    run: (job) => forEach(paths(job, "files/f"), (path) => stat(path, true)),
  },
  {
    name: "ls -l",
    state: "cold",
    needs: ["create"],
    run(job) {
      const dir = cPath(`${job.dir}/files`);
      const files = paths(job, "files/f");
      return () => {
        const fd = open(dir, O.RDONLY | O.DIRECTORY);
        const count = list(fd);
        if (count < files.length) throw new Error(`${count} entries instead of ${files.length}`);
        for (let i = 0; i < files.length; i++) stat(files[i]!, false);
        close(fd);
        return files.length;
      };
    },
  },
  {
    name: "readdir of 100,000",
    state: "cold",
    isSingle: true,
    run(job) {
      const dir = cPath(job.largeDir);
      return () => {
        const fd = open(dir, O.RDONLY | O.DIRECTORY);
        const count = list(fd);
        if (count < LARGE_DIRECTORY_COUNT) throw new Error(`only ${count} entries`);
        close(fd);
        return LARGE_DIRECTORY_COUNT;
      };
    },
  },
  {
    name: "small write",
    state: "",
    run(job) {
      mkdir(`${job.dir}/small`);
      return forEach(paths(job, "small/f"), (path) => {
        const fd = open(path, O.WRONLY | O.CREAT | O.TRUNC);
        pwrite(fd, SMALL, 0);
        close(fd);
      });
    },
  },
  {
    name: "small read",
    state: "cold",
    needs: ["small write"],
    run: (job) =>
      forEach(paths(job, "small/f"), (path) => {
        const fd = open(path, O.RDONLY);
        if (pread(fd, SMALL, 0) !== SMALL) throw new Error("a short read");
        close(fd);
      }),
  },
  {
    name: "rename",
    state: "warm",
    needs: ["create"],
    run(job) {
      const from = paths(job, "files/f");
      const to = paths(job, "files/g");
      return () => {
        for (let i = 0; i < from.length; i++) rename(from[i]!, to[i]!);
        return from.length;
      };
    },
  },
  {
    name: "unlink",
    state: "warm",
    needs: ["create", "rename"],
    run: (job) => forEach(paths(job, "files/g"), unlink),
  },
  {
    name: "1 MiB sequential write",
    state: "",
    unitSize: BUFFER_SIZE,
    run(job) {
      const path = filePath(job);
      return () => {
        const fd = open(path, O.WRONLY | O.CREAT | O.TRUNC);
        for (let at = 0; at < job.fileSize; at += BUFFER_SIZE) pwrite(fd, BUFFER_SIZE, at);
        close(fd);
        return job.fileSize / BUFFER_SIZE;
      };
    },
  },
  {
    name: "1 MiB sequential read",
    state: "cold",
    needs: ["1 MiB sequential write"],
    unitSize: BUFFER_SIZE,
    run(job) {
      const path = filePath(job);
      return () => {
        const fd = open(path, O.RDONLY);
        for (let at = 0; at < job.fileSize; at += BUFFER_SIZE) {
          if (pread(fd, BUFFER_SIZE, at) !== BUFFER_SIZE) throw new Error("a short read");
        }
        close(fd);
        return job.fileSize / BUFFER_SIZE;
      };
    },
  },
  {
    name: "4 KiB random read",
    state: "",
    needs: ["1 MiB sequential write"],
    unitSize: SMALL,
    run(job) {
      const fd = open(filePath(job), O.RDONLY | O.DIRECT);
      const at = offsets(job);
      return () => {
        for (let i = 0; i < at.length; i++) {
          if (pread(fd, SMALL, at[i]!) !== SMALL) throw new Error("a short read");
        }
        close(fd);
        return at.length;
      };
    },
  },
  {
    name: "4 KiB random write",
    state: "",
    needs: ["1 MiB sequential write"],
    unitSize: SMALL,
    run(job) {
      const fd = open(filePath(job), O.WRONLY | O.DIRECT);
      const at = offsets(job);
      return () => {
        for (let i = 0; i < at.length; i++) pwrite(fd, SMALL, at[i]!);
        close(fd);
        return at.length;
      };
    },
  },
];

/** The names of some rows and of all that they build on. */
export function withNeeds(names: readonly string[]): string[] {
  const wanted = new Set<string>();
  for (const name of names) {
    const row = ROWS.find((row) => row.name === name);
    if (row === undefined) {
      throw new Error(`No such row: ${name}. There are: ${ROWS.map((row) => row.name).join(", ")}`);
    }
    for (const needed of [...row.needs ?? [], name]) wanted.add(needed);
  }
  return [...wanted];
}

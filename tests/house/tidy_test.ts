import { deepEqual, equal, match } from "node:assert/strict";
import { type SourceFile, sourceFiles, withoutComments } from "./source_files.ts";

/** Something that is not to be written, where, and what to write in its place. */
interface Ban {
  readonly what: string;
  readonly pattern: RegExp;
  readonly folders: readonly string[];
  readonly instead: string;
  /** Files where it stands all the same, each with its reason. */
  readonly except?: Readonly<Record<string, string>>;
}

/** The folders that every request passes through. */
const HOT = ["src/virtqueue", "src/fuse"];

const BANS: readonly Ban[] = [
  {
    what: "FFI",
    pattern: /\bDeno\.dlopen\b/,
    folders: ["src"],
    instead: "a function of src/sys/",
    except: Object.fromEntries(
      sourceFiles("src/sys").map(({ path }) => [path, "sys/ is where FFI lives"]),
    ),
  },
  {
    what: "a BigInt",
    pattern: /\bBigInt\(|\b\d+n\b|getBigU?[Ii]nt64|setBigU?[Ii]nt64/,
    folders: HOT,
    instead: "two halves, or NativeMemory.u64() for what is below 2^53: a BigInt is garbage",
  },
  {
    what: "async",
    pattern: /\basync\b|\bawait\b/,
    folders: HOT,
    instead: "a synchronous call: a queue's thread may block",
  },
  {
    what: "throw",
    pattern: /\bthrow\b/,
    folders: HOT,
    instead: "a negative errno, or assert() for our own mistakes",
  },
  {
    what: "a generator",
    pattern: /\bfunction\s*\*|\byield\b|^\s*(?:static\s+)?\*\s*\[?\w/m,
    folders: HOT,
    instead: "a loop over indices: a generator allocates at each step",
  },
  {
    what: "subarray",
    pattern: /\.subarray\(/,
    folders: [...HOT, "src/memory"],
    instead: "copyBytes(): a view is 104 bytes of garbage",
    except: {
      "src/memory/copy.ts": "large copies, where the engine's own is faster",
      "src/fuse/request.ts":
        "writeData(), for file systems in JavaScript memory, which allocate anyway",
    },
  },
  {
    what: "a note to do something later",
    pattern: /\b(?:FIXME|TODO|XXX)\b/,
    folders: ["src", "tools", "examples", "bench", "packaging"],
    instead: "doing it, or an issue",
  },
  {
    what: "a path of the machine it was written on",
    pattern: /["'`\s(]\/(?:work|opt|root|home\/\w+)\//,
    folders: ["src", "tools", "tests", "examples", "bench", "packaging"],
    instead: "a path relative to the checkout, an option or an environment variable",
  },
];

/** Longest file in src/, in lines: one that is longer has two jobs. */
const LINE_COUNT_MAX = 400;
/** Longer ones, with the reason and how long they are allowed to be. */
const LONGER: Readonly<Record<string, { readonly lines: number; readonly why: string }>> = {
  "src/state/inode_table.ts": {
    lines: 500,
    why: "one table under one mutex, whose rules belong together",
  },
  "src/guest/vfs/calls.ts": {
    lines: 540,
    why: "one method per system call, most of them three lines",
  },
  "src/wire/fuse.ts": { lines: 480, why: "one header, one file, in the header's order" },
};

/** Folders that may not exist (yet) have no files. */
function filesIn(folder: string): SourceFile[] {
  try {
    return sourceFiles(folder).concat(folder === "packaging" ? sourceFiles(folder, ".md") : []);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function found(ban: Ban, files: readonly SourceFile[]): string[] {
  const lines: string[] = [];
  for (const { path, code, text } of files) {
    if (path in (ban.except ?? {}) || path === "tests/house/tidy_test.ts") continue;
    // Notes and paths count in comments too.
    const searched = ban.what.startsWith("a note") || ban.what.startsWith("a path") ? text : code;
    const at = ban.pattern.exec(searched);
    if (at !== null) {
      const line = searched.slice(0, at.index).split("\n").length;
      lines.push(`${path}:${line}: ${ban.what}; write ${ban.instead}`);
    }
  }
  return lines;
}

for (const ban of BANS) {
  Deno.test(`${ban.what} is not in ${ban.folders.join(", ")}`, () => {
    deepEqual(found(ban, ban.folders.flatMap(filesIn)), []);
  });
}

Deno.test("exceptions are still needed", () => {
  for (const ban of BANS) {
    if (ban.what === "FFI") continue;
    for (const path of Object.keys(ban.except ?? {})) {
      const file = ban.folders.flatMap(filesIn).find((candidate) => candidate.path === path);
      equal(file !== undefined && ban.pattern.test(file.code), true, `${path}: ${ban.what}`);
    }
  }
});

Deno.test("the bans find what they ban", () => {
  const samples: Readonly<Record<string, string>> = {
    "FFI": "const x = Deno.dlopen();",
    "a BigInt": "view.getBigUint64(0) + 1n",
    "async": "async function f() {}",
    "throw": "throw new Error()",
    "a generator": "function* f() {}",
    "subarray": "bytes.subarray(1)",
    "a note to do something later": "// TODO: later",
    "a path of the machine it was written on": 'const x = "/home/somebody/x";',
  };
  for (const ban of BANS) match(samples[ban.what]!, ban.pattern);
  // And nothing in comments.
  equal(withoutComments('a // throw\n/* async\n 1n */ "// kept"').includes("throw"), false);
  equal(withoutComments('a // throw\n/* async\n 1n */ "// kept"').includes("// kept"), true);
});

Deno.test(`files in src/ have at most ${LINE_COUNT_MAX} lines`, () => {
  const long = sourceFiles("src").flatMap(({ path, text }) => {
    const lines = text.split("\n").length - 1;
    const longer = LONGER[path];
    if (longer !== undefined && lines <= LINE_COUNT_MAX) {
      return [`${path} has ${lines} lines and needs no exception any more`];
    }
    const limit = longer?.lines ?? LINE_COUNT_MAX;
    return lines > limit ? [`${path} has ${lines} lines, of ${limit}`] : [];
  });
  deepEqual(long, []);
});

Deno.test("names of files and folders are snake_case", () => {
  const bad = [...sourceFiles("src"), ...sourceFiles("tests"), ...sourceFiles("tools")]
    .map((file) => file.path).filter((path) => !/^[a-z0-9_/]+\.ts$/.test(path));
  deepEqual(bad, []);
});

/**
 * Options in the forms of the C virtiofsd and of the first Rust ones, rewritten into today's long
 * options before the command line is parsed:
 *
 *     -o source=/srv,cache=none,no_xattr   →   --shared-dir=/srv --cache=none
 *     -d                                   →   --log-level=debug
 *     --posix-acl                          →   --posix-acl=auto
 *
 * A comma inside a value is written twice, as libvirt does. What `-o` says wins over the long options, and of
 * several the last one wins.
 *
 * @module
 */

/** What the rewriting found. */
export interface CompatResult {
  /** The arguments in today's form. */
  readonly args: readonly string[];
  /** Whether a deprecated form was used. */
  readonly deprecated: boolean;
  /** What is wrong with an `-o` argument, or null. */
  readonly error: string | null;
}

/** One word of `-o`: the long options it stands for, and those it takes back. */
interface CompatWord {
  /** Long flags that the word adds. */
  readonly adds?: readonly string[];
  /** Long flags that the word takes back. */
  readonly drops?: readonly string[];
  /** The long option that takes the word's value. */
  readonly value?: string;
}

const WORDS: Readonly<Record<string, CompatWord>> = {
  source: { value: "--shared-dir" },
  cache: { value: "--cache" },
  sandbox: { value: "--sandbox" },
  modcaps: { value: "--modcaps" },
  timeout: { value: "--timeout" },
  log_level: { value: "--log-level" },
  xattrmap: { value: "--xattrmap" },
  max_idle_threads: { value: "--thread-pool-size" },
  debug: { adds: ["--log-level=debug"] },
  xattr: { adds: ["--xattr"] },
  no_xattr: { drops: ["--xattr"] },
  flock: { adds: ["--flock"] },
  no_flock: { drops: ["--flock"] },
  posix_lock: { adds: ["--posix-lock"] },
  no_posix_lock: { drops: ["--posix-lock"] },
  writeback: { adds: ["--writeback"] },
  no_writeback: { drops: ["--writeback"] },
  readdirplus: { drops: ["--no-readdirplus"] },
  no_readdirplus: { adds: ["--no-readdirplus"] },
  announce_submounts: { adds: ["--announce-submounts"] },
  no_announce_submounts: { adds: ["--no-announce-submounts"] },
  allow_direct_io: { adds: ["--allow-direct-io"] },
  no_allow_direct_io: { drops: ["--allow-direct-io"] },
  killpriv_v2: { adds: ["--killpriv-v2"] },
  no_killpriv_v2: { adds: ["--no-killpriv-v2"] },
  posix_acl: { adds: ["--posix-acl=auto"] },
  no_posix_acl: { adds: ["--posix-acl=never"] },
  security_label: { adds: ["--security-label=auto"] },
  no_security_label: { adds: ["--security-label=never"] },
  // The C daemon's permission for other users of the mount, which a virtio-fs device always gives.
  allow_root: {},
};

/** Options whose value may be left out, and what it is then. */
const IMPLIED_VALUES: Readonly<Record<string, string>> = {
  "--posix-acl": "--posix-acl=auto",
  "--security-label": "--security-label=auto",
};

/** Rewrites `args`; nothing after `--` is touched. */
export function rewriteCompatOptions(args: readonly string[]): CompatResult {
  let plain: string[] = [];
  let expanded: string[] = [];
  let deprecated = false;
  for (let index = 0; index < args.length; index++) {
    const arg = args[index] ?? "";
    if (arg === "--") {
      return { args: [...plain, ...expanded, ...args.slice(index)], deprecated, error: null };
    }
    if (!arg.startsWith("-o")) {
      plain.push(IMPLIED_VALUES[arg] ?? (arg === "-d" ? "--log-level=debug" : arg));
      continue;
    }
    deprecated = true;
    if (arg === "-o") index++;
    const list = arg === "-o" ? args[index] : arg.slice(2).replace(/^=/, "");
    if (list === undefined) return { args, deprecated, error: "-o needs a list of options" };
    for (const item of splitList(list)) {
      const word = findWord(item);
      if (typeof word === "string") return { args, deprecated, error: word };
      const drops = new Set(word.drops);
      plain = plain.filter((kept) => !drops.has(kept));
      expanded = expanded.filter((kept) => !drops.has(kept));
      expanded.push(...word.adds);
    }
  }
  return { args: [...plain, ...expanded], deprecated, error: null };
}

/** Splits at single commas; two commas are one that belongs to the value. */
export function splitList(list: string): string[] {
  const items: string[] = [];
  let item = "";
  for (let index = 0; index < list.length; index++) {
    if (list[index] !== ",") {
      item += list[index];
    } else if (list[index + 1] === ",") {
      item += ",";
      index++;
    } else {
      items.push(item);
      item = "";
    }
  }
  items.push(item);
  return items.filter((found) => found !== "");
}

function findWord(item: string): { adds: readonly string[]; drops: readonly string[] } | string {
  const equals = item.indexOf("=");
  const name = equals < 0 ? item : item.slice(0, equals);
  const word = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  if (word === undefined) return `-o does not know "${name}"`;
  if (word.value === undefined) {
    if (equals >= 0) return `-o ${name} takes no value`;
    return { adds: word.adds ?? [], drops: word.drops ?? [] };
  }
  if (equals < 0) return `-o ${name} needs a value: ${name}=…`;
  return { adds: [`${word.value}=${item.slice(equals + 1)}`], drops: [] };
}

/** Reads what a layer holds: names and metadata, never contents. */
import { spawn } from "node:child_process";
import { lstatSync, statSync } from "node:fs";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { directoryAttributes } from "./directory-attributes.ts";
import { hostPath } from "./layer-path.ts";
import type { EntryType, LayerEntry, LayerManifest, LayerPath } from "./types.ts";

export const EMPTY_MANIFEST: LayerManifest = { entries: new Map(), takenAtNs: 0n };

/** find walks a hundred thousand files in the time in which Node asks for a tenth, and not on our thread. */
const FORMAT = "%y %s %T@ %C@ %i %n %m %U %G %P\\0";
const FIELDS = 9;
const STDERR_KEEP_CHARS = 4096;

const TYPES: Readonly<Record<string, EntryType>> = {
  f: "file",
  d: "directory",
  l: "symlink",
  c: "character",
  b: "block",
  p: "fifo",
  s: "socket",
};

/**
 * The layer may change while it is read: what vanishes is left out, and what changes afterwards has a later ctime than
 * the manifest says. Throws NOT_FOUND if there is no such directory.
 */
export async function scanLayer(directory: string, signal?: AbortSignal): Promise<LayerManifest> {
  const takenAtNs = BigInt(Date.now()) * 1_000_000n;
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new DrayError("NOT_FOUND", `the layer ${directory} does not exist`);
  }
  const entries = new Map<LayerPath, LayerEntry>();
  const directories: LayerPath[] = [];
  for await (const record of recordsOf(directory, signal)) {
    const { path, entry } = parseRecord(record);
    if (entry.type === "directory") directories.push(path);
    const complete = entry.type === "character" || entry.type === "block" ? withDevice(directory, path, entry) : entry;
    if (complete !== undefined) entries.set(path, complete);
  }
  for (const [path, { opaque, names }] of await directoryAttributes(directory, directories, signal)) {
    const entry = entries.get(path);
    if (entry !== undefined) entries.set(path, { ...entry, opaque, attributeNames: names });
  }
  return { entries, takenAtNs };
}

/** One record of find's output after another, as byte strings. */
async function* recordsOf(directory: string, signal: AbortSignal | undefined): AsyncGenerator<string, void, void> {
  const child = spawn("find", [directory, "-ignore_readdir_race", "-printf", FORMAT], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", kill, { once: true });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-STDERR_KEEP_CHARS);
  });
  const ended = new Promise<string | number>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code) => resolve(code ?? "killed"));
  });
  try {
    let rest = "";
    for await (const chunk of child.stdout.setEncoding("latin1") as AsyncIterable<string>) {
      const records = (rest + chunk).split("\0");
      rest = records.pop() ?? "";
      yield* records;
    }
    const code = await ended;
    signal?.throwIfAborted();
    if (code !== 0) throw new DrayError("COMMAND_FAILED", `read the layer ${directory}: find: ${words.trim() || code}`);
  } finally {
    signal?.removeEventListener("abort", kill);
    kill();
    await ended;
  }
}

/** Pure. "f 10 1700000000.1234567890 1700000000.1234567890 7 1 644 0 0 a/path with spaces". */
export function parseRecord(record: string): { readonly path: LayerPath; readonly entry: LayerEntry } {
  const fields: string[] = [];
  let at = 0;
  for (let i = 0; i < FIELDS; i++) {
    const space = record.indexOf(" ", at);
    fields.push(record.slice(at, space));
    at = space + 1;
  }
  const [type = "", size, mtime = "", ctime = "", inode = "", links, mode = "", uid, gid] = fields;
  const known = TYPES[type];
  if (known === undefined) throw new DrayError("INTERNAL", `find says the type ${type} of a file`);
  return {
    path: record.slice(at),
    entry: {
      type: known,
      sizeBytes: Number(size),
      mtimeNs: nanoseconds(mtime),
      ctimeNs: nanoseconds(ctime),
      inode: BigInt(inode),
      links: Number(links),
      mode: Number.parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      device: 0n,
      opaque: false,
      attributeNames: "",
    },
  };
}

/** Seconds with ten decimals, of which the last is none. */
function nanoseconds(seconds: string): bigint {
  const point = seconds.indexOf(".");
  return point === -1
    ? BigInt(seconds) * 1_000_000_000n
    : BigInt(seconds.slice(0, point) + seconds.slice(point + 1, point + 10));
}

/** find does not tell device numbers. Undefined if it vanished. */
function withDevice(directory: string, path: LayerPath, entry: LayerEntry): LayerEntry | undefined {
  const stats = lstatSync(hostPath(Buffer.from(directory), path), { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  const whiteout = entry.type === "character" && stats.rdev === 0n;
  return { ...entry, type: whiteout ? "whiteout" : entry.type, device: stats.rdev };
}

/** Reads what a layer holds: names and metadata, never contents. */
import { spawn } from "node:child_process";
import { lstatSync, statSync } from "node:fs";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { directoryAttributes } from "./directory-attributes.ts";
import { hostPath } from "./layer-path.ts";
import { LayerManifest } from "./manifest.ts";
import { PathSelection } from "./path-selection.ts";
import type { EntryType, LayerEntry, LayerPath } from "./types.ts";

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
  const manifest = new LayerManifest(BigInt(Date.now()) * 1_000_000n);
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new DrayError("NOT_FOUND", `the layer ${directory} does not exist`);
  }
  for await (const records of recordsOf(directory, signal)) {
    for (const record of records) {
      const { path, entry } = parseRecord(record);
      const isDevice = entry.type === "character" || entry.type === "block";
      const complete = isDevice ? withDevice(directory, path, entry) : entry;
      if (complete !== undefined) manifest.add(path, complete);
    }
  }
  for (const [path, attributes] of await directoryAttributes(directory, directoriesOf(manifest), signal)) {
    manifest.addAttributes(path, attributes);
  }
  return manifest;
}

function directoriesOf(manifest: LayerManifest): Iterable<LayerPath> {
  const isDirectory = Uint8Array.from({ length: manifest.tree.size }, (_, entry) =>
    manifest.has(entry) && manifest.type(entry) === "directory" ? 1 : 0,
  );
  return new PathSelection(manifest.tree, isDirectory);
}

/** The records of find's output in the groups in which they come, as byte strings. */
async function* recordsOf(directory: string, signal: AbortSignal | undefined): AsyncGenerator<string[], void, void> {
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
      yield records;
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

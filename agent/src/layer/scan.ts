/** Reads what a layer holds: names and metadata, never contents. */
import { type BigIntStats, lstatSync, readdirSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { type DirectoryAttributes, directoryAttributes } from "./directory-attributes.ts";
import { hostPath, ROOT } from "./layer-path.ts";
import type { EntryType, LayerEntry, LayerManifest, LayerPath } from "./types.ts";

/** Entries between two breaths of the event loop: some 5 ms. */
const ENTRIES_PER_TURN = 500;
const S_IFMT = 0o170000n;

export const EMPTY_MANIFEST: LayerManifest = { entries: new Map(), takenAtNs: 0n };

/**
 * The layer may change while it is read: what vanishes is left out, and what changes afterwards has a later ctime than
 * the manifest says. Throws NOT_FOUND if there is no such directory.
 */
export async function scanLayer(directory: string, signal?: AbortSignal): Promise<LayerManifest> {
  const takenAtNs = BigInt(Date.now()) * 1_000_000n;
  const base = Buffer.from(directory);
  const rootStats = lstatSync(base, { bigint: true, throwIfNoEntry: false });
  if (rootStats?.isDirectory() !== true) throw new DrayError("NOT_FOUND", `the layer ${directory} does not exist`);
  const found = new Map<LayerPath, BigIntStats>([[ROOT, rootStats]]);
  const directories: LayerPath[] = [ROOT];
  let sinceTurn = 0;
  for (let next = 0; next < directories.length; next++) {
    const path = directories[next] ?? ROOT;
    for (const name of namesIn(hostPath(base, path))) {
      if (++sinceTurn >= ENTRIES_PER_TURN) {
        sinceTurn = 0;
        await nextTurn();
        signal?.throwIfAborted();
      }
      const child = path === ROOT ? name : `${path}/${name}`;
      const stats = lstatSync(hostPath(base, child), { bigint: true, throwIfNoEntry: false });
      if (stats === undefined) continue;
      found.set(child, stats);
      if (stats.isDirectory()) directories.push(child);
    }
  }
  const attributes = await directoryAttributes(directory, directories, signal);
  const entries = new Map<LayerPath, LayerEntry>();
  for (const [path, stats] of found) entries.set(path, entryOf(stats, attributes.get(path)));
  return { entries, takenAtNs };
}

function namesIn(directory: Buffer): string[] {
  try {
    return readdirSync(directory, { encoding: "latin1" });
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw toDrayError(thrown);
  }
}

function entryOf(stats: BigIntStats, attributes: DirectoryAttributes | undefined): LayerEntry {
  const type = typeOf(stats);
  return {
    type,
    sizeBytes: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    inode: stats.ino,
    links: Number(stats.nlink),
    mode: Number(stats.mode & ~S_IFMT),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    device: type === "character" || type === "block" ? stats.rdev : 0n,
    opaque: attributes?.opaque ?? false,
    attributeNames: attributes?.names ?? "",
  };
}

function typeOf(stats: BigIntStats): EntryType {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isCharacterDevice()) return stats.rdev === 0n ? "whiteout" : "character";
  if (stats.isBlockDevice()) return "block";
  if (stats.isFIFO()) return "fifo";
  return "socket";
}

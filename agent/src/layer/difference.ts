/** What changed between two scans of a layer. Pure. */
import type { LayerManifest } from "./manifest.ts";
import { PathSelection } from "./path-selection.ts";
import { NOWHERE, type PathTree } from "./path-tree.ts";
import type { LayerDifference, LayerPath } from "./types.ts";

/**
 * An entry that changed so shortly before the scan may have changed again within the same tick of the file system's
 * clock without a trace in its ctime: it counts as changed.
 */
const RACY_NS = 1_000_000_000n;

/**
 * @param before what the copy holds
 * @param after what it shall hold
 * @param written files that were open or mapped for writing at either time: their times prove nothing, they count as
 * changed. One that was mapped and dirty when it was sent is written to without a new time until it is written back.
 * @param comparable those of them of which it is known what the copy holds
 */
export function diffLayer(
  before: LayerManifest,
  after: LayerManifest,
  written: ReadonlySet<LayerPath> = new Set(),
  comparable: ReadonlySet<LayerPath> = new Set(),
): LayerDifference {
  const compared: LayerPath[] = [];
  const deleted = new Set<LayerPath>();
  const stripped = new Set<LayerPath>();
  const { tree } = after;
  const changed = new Uint8Array(tree.size);
  const counterparts = counterpartsOf(tree, before.tree);
  const oldOf = (entry: number): number => {
    const old = counterparts[entry] as number;
    return old !== NOWHERE && before.has(old) ? old : NOWHERE;
  };
  const isWritten = new Uint8Array(tree.size);
  for (const path of written) {
    const entry = tree.find(path);
    if (entry !== NOWHERE) isWritten[entry] = 1;
  }

  // A directory that hides what is below it must begin empty in the copy, and is sent whole.
  const replaced = new Uint8Array(tree.size);
  const trustedBeforeNs = before.takenAtNs - RACY_NS;
  for (let entry = 0; entry < tree.size; entry++) {
    if (entry !== 0 && replaced[tree.parent(entry)] === 1) replaced[entry] = 1;
    if (!after.has(entry)) continue;
    const type = after.type(entry);
    const old = oldOf(entry);
    if (isReplaced(before, old, after, entry)) {
      changed[entry] = 1;
      if (entry !== 0) {
        replaced[entry] = 1;
        deleted.add(tree.path(entry));
      }
    } else if (type === "directory" && lostAttribute(before, old, after, entry)) {
      stripped.add(tree.path(entry));
      changed[entry] = 1;
    }
    if (type === "socket") {
      // Whoever binds it makes it anew; the copy must not keep what was there before.
      if (old !== NOWHERE && before.type(old) !== "socket") {
        deleted.add(tree.path(entry));
        changed[tree.parent(entry)] = 1;
      }
      continue;
    }
    if (isWritten[entry] === 1 && old !== NOWHERE && replaced[entry] === 0 && comparable.has(tree.path(entry))) {
      if (type === "file" && after.links(entry) === 1 && after.isSameInode(entry, before, old)) {
        compared.push(tree.path(entry));
        continue;
      }
    }
    const same =
      old !== NOWHERE &&
      (type === "whiteout"
        ? before.type(old) === "whiteout" // Whiteouts are links to one inode; its times say nothing about this one.
        : after.isSame(entry, before, old) &&
          after.ctimeNs(entry) < trustedBeforeNs &&
          !(type === "file" && isWritten[entry] === 1));
    if (!same || replaced[entry] === 1) changed[entry] = 1;
  }

  for (const { path, directory } of vanished(before, after, counterparts)) {
    if (replaced[directory] === 1) continue;
    deleted.add(path);
    changed[directory] = 1;
  }
  addLinkSets(changed, after);
  // A directory's number is lower than those of what it holds.
  for (let entry = tree.size - 1; entry > 0; entry--) if (changed[entry] === 1) changed[tree.parent(entry)] = 1;
  let changedBytes = 0;
  for (let entry = 0; entry < tree.size; entry++) {
    if (!after.has(entry)) changed[entry] = 0;
    else if (changed[entry] === 1 && after.type(entry) === "file") changedBytes += after.sizeBytes(entry);
  }
  return {
    changed: new PathSelection(tree, changed),
    deleted: sorted(deleted),
    stripped: sorted(stripped),
    compared,
    changedBytes,
  };
}

/** For each path of a tree, the number of the same path in another, or NOWHERE. */
function counterpartsOf(tree: PathTree, other: PathTree): Int32Array {
  const counterparts = new Int32Array(tree.size);
  for (let number = 1; number < tree.size; number++) {
    const directory = counterparts[tree.parent(number)] as number;
    counterparts[number] = directory === NOWHERE ? NOWHERE : other.findIn(directory, tree.name(number));
  }
  return counterparts;
}

function isReplaced(before: LayerManifest, old: number, after: LayerManifest, entry: number): boolean {
  if (!after.attributes(entry).opaque) return false;
  return old === NOWHERE || !before.attributes(old).opaque || before.inode(old) !== after.inode(entry);
}

function lostAttribute(before: LayerManifest, old: number, after: LayerManifest, entry: number): boolean {
  if (old === NOWHERE || before.type(old) !== "directory") return false;
  const { names } = before.attributes(old);
  if (names === "") return false;
  const now = new Set(after.attributes(entry).names.split("\0"));
  return names.split("\0").some((name) => !now.has(name));
}

/** The outermost of the paths that are there no longer, each with the directory above it in `after`. */
function* vanished(
  before: LayerManifest,
  after: LayerManifest,
  counterparts: Int32Array,
): Generator<{ path: LayerPath; directory: number }, void, void> {
  const found = new Int32Array(before.tree.size).fill(NOWHERE);
  for (const [entry, old] of counterparts.entries()) if (old !== NOWHERE && after.has(entry)) found[old] = entry;
  for (let old = 1; old < before.tree.size; old++) {
    if (!before.has(old) || found[old] !== NOWHERE) continue;
    const directory = found[before.tree.parent(old)] as number;
    if (directory !== NOWHERE) yield { path: before.tree.path(old), directory };
  }
}

/** If one name of a file is sent, all are: only so does the copy get them as one file again. */
function addLinkSets(changed: Uint8Array, after: LayerManifest): void {
  const inodes = new Set<bigint>();
  const linked: number[] = [];
  for (let entry = 0; entry < changed.length; entry++) {
    if (!after.has(entry) || after.links(entry) < 2) continue;
    const type = after.type(entry);
    if (type === "directory" || type === "socket" || type === "whiteout") continue;
    linked.push(entry);
    if (changed[entry] === 1) inodes.add(after.inode(entry));
  }
  for (const entry of linked) if (inodes.has(after.inode(entry))) changed[entry] = 1;
}

/** By bytes. */
function sorted(paths: ReadonlySet<LayerPath>): LayerPath[] {
  return [...paths].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** What changed between two scans of a layer. Pure. */
import { ancestors, ROOT } from "./layer-path.ts";
import type { LayerDifference, LayerEntry, LayerManifest, LayerPath } from "./types.ts";

/**
 * An entry that changed so shortly before the scan may have changed again within the same tick of the file system's
 * clock without a trace in its ctime: it counts as changed.
 */
const RACY_NS = 1_000_000_000n;

/**
 * @param before what the copy holds
 * @param after what it shall hold
 * @param written files that were open or mapped for writing: their times prove nothing, they count as changed
 */
export function diffLayer(
  before: LayerManifest,
  after: LayerManifest,
  written: ReadonlySet<LayerPath> = new Set(),
): LayerDifference {
  const deleted = new Set<LayerPath>();
  const changed = new Set<LayerPath>();
  const stripped = new Set<LayerPath>();
  const trustedBeforeNs = before.takenAtNs - RACY_NS;

  // A directory that hides what is below it must begin empty in the copy, and is sent whole.
  const replaced = new Set<LayerPath>();
  for (const [path, entry] of after.entries) {
    const old = before.entries.get(path);
    if (entry.opaque && !(old?.opaque === true && old.inode === entry.inode)) {
      replaced.add(path);
      if (path !== ROOT) deleted.add(path);
    } else if (entry.type === "directory" && old?.type === "directory" && lostAttribute(old, entry)) {
      stripped.add(path);
    }
  }
  const isBelow = (set: ReadonlySet<LayerPath>, path: LayerPath): boolean =>
    set.size > 0 && ancestors(path).some((directory) => set.has(directory));

  for (const [path, entry] of after.entries) {
    const old = before.entries.get(path);
    if (entry.type === "socket") {
      // Whoever binds it makes it anew; the copy must not keep what was there before.
      if (old !== undefined && old.type !== "socket") deleted.add(path);
      continue;
    }
    const same =
      old !== undefined &&
      (entry.type === "whiteout"
        ? old.type === "whiteout" // Whiteouts are links to one inode; its times say nothing about this one.
        : sameEntry(old, entry) && entry.ctimeNs < trustedBeforeNs && !(entry.type === "file" && written.has(path)));
    if (!same || replaced.has(path) || isBelow(replaced, path)) changed.add(path);
  }

  const gone = new Set<LayerPath>();
  for (const path of before.entries.keys()) if (!after.entries.has(path)) gone.add(path);
  for (const path of gone) if (!isBelow(gone, path) && !isBelow(replaced, path)) deleted.add(path);

  addLinkSets(changed, after);
  for (const path of [...changed, ...deleted, ...stripped]) {
    changed.add(ROOT);
    for (const directory of ancestors(path)) if (after.entries.has(directory)) changed.add(directory);
  }
  for (const path of stripped) changed.add(path);

  let changedBytes = 0;
  for (const path of changed) {
    const entry = after.entries.get(path);
    if (entry?.type === "file") changedBytes += entry.sizeBytes;
  }
  return { changed: sorted(changed), deleted: sorted(deleted), stripped: sorted(stripped), changedBytes };
}

function sameEntry(a: LayerEntry, b: LayerEntry): boolean {
  return (
    a.type === b.type &&
    a.inode === b.inode &&
    a.ctimeNs === b.ctimeNs &&
    a.mtimeNs === b.mtimeNs &&
    a.sizeBytes === b.sizeBytes &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.device === b.device &&
    a.links === b.links
  );
}

function lostAttribute(old: LayerEntry, entry: LayerEntry): boolean {
  const now = new Set(entry.attributeNames.split("\0"));
  return old.attributeNames !== "" && old.attributeNames.split("\0").some((name) => !now.has(name));
}

/** If one name of a file is sent, all are: only so does the copy get them as one file again. */
function addLinkSets(changed: Set<LayerPath>, after: LayerManifest): void {
  const sets = new Map<bigint, LayerPath[]>();
  for (const [path, entry] of after.entries) {
    if (entry.links < 2 || entry.type === "directory" || entry.type === "socket" || entry.type === "whiteout") continue;
    const set = sets.get(entry.inode);
    if (set === undefined) sets.set(entry.inode, [path]);
    else set.push(path);
  }
  for (const set of sets.values()) {
    if (set.some((path) => changed.has(path))) for (const path of set) changed.add(path);
  }
}

/** By bytes, so that a directory comes before what is in it. */
function sorted(paths: ReadonlySet<LayerPath>): LayerPath[] {
  return [...paths].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

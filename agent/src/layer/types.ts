import type { PathSelection } from "./path-selection.ts";

export type { LayerManifest } from "./manifest.ts";

/**
 * Paths are relative to the layer ("etc/passwd"), without leading "./", as byte strings: one character per byte
 * (latin1), because file names are bytes and need not be UTF-8. "" is the layer's root.
 */
export type LayerPath = string;

export type EntryType = "file" | "directory" | "symlink" | "character" | "block" | "fifo" | "socket" | "whiteout";

export interface LayerEntry {
  readonly type: EntryType;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  readonly links: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Device number of device nodes, else 0. */
  readonly device: bigint;
}

/** What brings a copy of an earlier state to the later one. */
export interface LayerDifference {
  /** To be packed, parents first. */
  readonly changed: PathSelection;
  /** To be removed (with all below) before `changed` is unpacked. */
  readonly deleted: readonly LayerPath[];
  /** Directories that lost an extended attribute: they are made anew around what they hold. */
  readonly stripped: readonly LayerPath[];
  /** Files whose contents are to be compared with what the copy has of them; not in `changed`. */
  readonly compared: readonly LayerPath[];
  /** Sum of the sizes of the changed files. */
  readonly changedBytes: number;
}

/** What makes the copy's file that of the source, in place: nothing else of it has changed. */
export interface FilePatch {
  readonly path: LayerPath;
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  /** Pages that differ, each the first and how many, ascending. */
  readonly ranges: readonly (readonly [first: number, pages: number])[];
}

/** Where a layer is put. */
export interface LayerTarget {
  /** "upper": upper directory of an overlay that is not mounted; "merged": the mounted root file system. */
  readonly kind: "upper" | "merged";
  readonly directory: string;
}

/** What a layer held at one time: a tree of paths, and a record of fixed size for each. */
import type { DirectoryAttributes } from "./directory-attributes.ts";
import { GrowingBytes } from "./growing-array.ts";
import { PathTree } from "./path-tree.ts";
import type { EntryType, LayerEntry, LayerPath } from "./types.ts";

const TYPES: readonly EntryType[] = [
  "file",
  "directory",
  "symlink",
  "character",
  "block",
  "fifo",
  "socket",
  "whiteout",
];
const NO_ATTRIBUTES: DirectoryAttributes = { opaque: false, names: "" };

/**
 *   0      8      16     24     32      40    44    48    52      56
 *   │ size │ mtime│ ctime│ inode│ device│ uid │ gid │ mode│ links │ type + 1, 0 for no entry │
 */
const RECORD_BYTES = 60;

export class LayerManifest {
  /** When the scan began, nanoseconds since the epoch; entries changed shortly before may have changed again. */
  readonly takenAtNs: bigint;
  /** Entries are the numbers of their paths. Use `has`: there may be paths without. */
  readonly tree = new PathTree();
  readonly #records = new GrowingBytes();
  readonly #attributes = new Map<number, DirectoryAttributes>();

  constructor(takenAtNs: bigint) {
    this.takenAtNs = takenAtNs;
  }

  add(path: LayerPath, entry: LayerEntry): void {
    const at = this.tree.add(path) * RECORD_BYTES;
    this.#records.extend(at + RECORD_BYTES);
    const { bytes } = this.#records;
    bytes.writeDoubleLE(entry.sizeBytes, at);
    // Whoever may write a file may date it to any year: beyond 2262 only what is compared with is left of it.
    bytes.writeBigInt64LE(BigInt.asIntN(64, entry.mtimeNs), at + 8);
    bytes.writeBigInt64LE(entry.ctimeNs, at + 16);
    bytes.writeBigUInt64LE(entry.inode, at + 24);
    bytes.writeBigUInt64LE(entry.device, at + 32);
    bytes.writeUInt32LE(entry.uid, at + 40);
    bytes.writeUInt32LE(entry.gid, at + 44);
    bytes.writeUInt32LE(entry.mode, at + 48);
    bytes.writeUInt32LE(entry.links, at + 52);
    bytes.writeUInt32LE(TYPES.indexOf(entry.type) + 1, at + 56);
  }

  /** Of a directory that has extended attributes. */
  addAttributes(path: LayerPath, attributes: DirectoryAttributes): void {
    this.#attributes.set(this.tree.add(path), attributes);
  }

  has(entry: number): boolean {
    const at = entry * RECORD_BYTES;
    return at < this.#records.length && this.#records.bytes.readUInt32LE(at + 56) !== 0;
  }

  type(entry: number): EntryType {
    return TYPES[this.#records.bytes.readUInt32LE(entry * RECORD_BYTES + 56) - 1] as EntryType;
  }

  sizeBytes(entry: number): number {
    return this.#records.bytes.readDoubleLE(entry * RECORD_BYTES);
  }

  mtimeNs(entry: number): bigint {
    return this.#records.bytes.readBigInt64LE(entry * RECORD_BYTES + 8);
  }

  ctimeNs(entry: number): bigint {
    return this.#records.bytes.readBigInt64LE(entry * RECORD_BYTES + 16);
  }

  inode(entry: number): bigint {
    return this.#records.bytes.readBigUInt64LE(entry * RECORD_BYTES + 24);
  }

  links(entry: number): number {
    return this.#records.bytes.readUInt32LE(entry * RECORD_BYTES + 52);
  }

  attributes(entry: number): DirectoryAttributes {
    return this.#attributes.get(entry) ?? NO_ATTRIBUTES;
  }

  /** Whether it is the same file with the same owner, mode and links; its content, size and times may be others. */
  isSameInode(entry: number, other: LayerManifest, otherEntry: number): boolean {
    const at = entry * RECORD_BYTES;
    const otherAt = otherEntry * RECORD_BYTES;
    const { bytes } = this.#records;
    const same = (from: number, to: number) =>
      bytes.compare(other.#records.bytes, otherAt + from, otherAt + to, at + from, at + to) === 0;
    return same(24, 32) && same(40, RECORD_BYTES);
  }

  /** Whether an entry's type and metadata are those of one of another manifest; attributes of directories apart. */
  isSame(entry: number, other: LayerManifest, otherEntry: number): boolean {
    const at = entry * RECORD_BYTES;
    const otherAt = otherEntry * RECORD_BYTES;
    const { bytes } = this.#records;
    return bytes.compare(other.#records.bytes, otherAt, otherAt + RECORD_BYTES, at, at + RECORD_BYTES) === 0;
  }
}

/** Of a layer of which nothing is known yet. Not to be added to. */
export const EMPTY_MANIFEST = new LayerManifest(0n);

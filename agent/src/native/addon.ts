/** The agent's native addon: what Node cannot do with pages and files, or not fast enough; see agent/native/page-memory.c. */
import { constants } from "node:os";
import { nativeFile } from "./native-file.ts";

interface Addon {
  /** Compares pages with their digests, stores the new ones, and tells for each page: 1 if it differs, else 0. Returns how many differ. */
  compare(
    content: Buffer,
    offset: number,
    pages: number,
    key: Buffer,
    table: Buffer,
    tableOffset: number,
    verdicts: Buffer,
    verdictOffset: number,
  ): number;
  /** Stores the digests of pages. */
  digest(content: Buffer, offset: number, pages: number, key: Buffer, table: Buffer, tableOffset: number): void;
  /** Ranges of pages that are there, as pairs of addresses, then where to go on; returns how many numbers, or a negative errno. */
  scan(
    pagemapFd: number,
    start: number,
    end: number,
    requiredCategories: number,
    excludedCategories: number,
    out: Float64Array,
  ): number;
  /** Where the next data (or hole) of a file is from this place on, or a negative errno: ENXIO behind the last data. */
  seek(fd: number, from: number, hole: boolean): number;
  /** A descriptor of the file at a path of NUL-terminated bytes, through no link and not out of the directory, or a negative errno. */
  openBeneath(directoryFd: number, path: Buffer, forWriting: boolean): number;
  /** All extended attributes of an open file, to be compared; a number where it has none (0) or they cannot be read (a negative errno). */
  attributes(fd: number): Buffer | number;
  /** 0, or a negative errno. */
  setModified(fd: number, seconds: number, nanoseconds: number): number;
  /** CRC-32 of what came before (`seed`, 0 for nothing) and of these bytes; -1 if this processor does it no faster than zlib. */
  crc32(bytes: Buffer, seed: number): number;
  /** Gives back the room of ranges of a file, pairs of an offset and a length, bytes. 0, or a negative errno. */
  punch(fd: number, ranges: Float64Array, numbers: number): number;
}

export const DIGEST_BYTES = 32;
/** A page's worth of words, and two for the second pass. */
export const DIGEST_KEY_BYTES = 514 * 8;

let loaded: Addon | undefined;

/** Throws INTERNAL if it is not there. */
export function addon(): Addon {
  if (loaded !== undefined) return loaded;
  const module = { exports: {} };
  process.dlopen(module, nativeFile("page-memory.node"), constants.dlopen.RTLD_NOW);
  loaded = module.exports as Addon;
  return loaded;
}

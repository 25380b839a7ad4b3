/** Which pages of a mapping are there, in memory or swapped out, without touching one: /proc/PID/pagemap. */
import { closeSync, openSync, readSync } from "node:fs";
import { constants } from "node:os";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { addon } from "../native/addon.ts";

export interface AddressRange {
  readonly start: number;
  readonly end: number;
}

/** PAGE_IS_* of linux/fs.h. */
const IS_FILE = 1 << 2;
const IS_ZERO_PAGE = 1 << 5;
const IS_SOFT_DIRTY = 1 << 7;
const NUMBERS = 2049;

/** Of an entry of pagemap, its upper 32 bits; Documentation/admin-guide/mm/pagemap.rst. */
const PRESENT_OR_SWAPPED = 0b11 << 30;
const FILE_OR_SHARED = 1 << 29;
const ENTRY_BYTES = 8;
const ENTRIES_AT_A_TIME = 8192;

const scanned = new Float64Array(NUMBERS);
const entries = Buffer.alloc(ENTRIES_AT_A_TIME * ENTRY_BYTES);
let knowsScan = true;

/**
 * In ascending order. `ownOnly` leaves out pages that belong to a file or to shared memory. The process may change its
 * mappings meanwhile, or end; what has gone is not told.
 */
export function* residentRanges(
  pagemapFd: number,
  { start, end }: AddressRange,
  ownOnly: boolean,
): Generator<AddressRange> {
  if (knowsScan) {
    const excluded = IS_ZERO_PAGE | (ownOnly ? IS_FILE : 0);
    knowsScan = yield* scan(pagemapFd, { start, end }, 0, excluded);
    if (knowsScan) return;
  }
  yield* fromEntries(pagemapFd, { start, end }, ownOnly);
}

/** Those that are marked as written to (soft-dirty). Only where `canTellWritten`. */
export function* writtenRanges(pagemapFd: number, range: AddressRange): Generator<AddressRange> {
  const isKnown = yield* scan(pagemapFd, range, IS_SOFT_DIRTY, 0);
  if (!isKnown) throw new DrayError("INTERNAL", "this kernel cannot tell which pages were written to");
}

/**
 * Whether PAGEMAP_SCAN knows the mark (Linux 6.8): asking page by page instead would take pages that were given back,
 * and read again, for what they were, since a zero page is not told from others there.
 */
export function canTellWritten(): boolean {
  const pagemapFd = openSync("/proc/self/pagemap", "r");
  try {
    return addon().scan(pagemapFd, 0, PAGE_BYTES, IS_SOFT_DIRTY, 0, scanned) >= 0;
  } finally {
    closeSync(pagemapFd);
  }
}

/** False if the kernel does not know PAGEMAP_SCAN. */
function* scan(
  pagemapFd: number,
  { start, end }: AddressRange,
  required: number,
  excluded: number,
): Generator<AddressRange, boolean> {
  for (let at = start; at < end; ) {
    const count = addon().scan(pagemapFd, at, end, required, excluded, scanned);
    if (count === -constants.errno.ENOTTY) return false;
    // Its last process has ended; reading the same file finds its end then.
    if (count === -constants.errno.ESRCH) break;
    if (count < 0) throw new DrayError("INTERNAL", `PAGEMAP_SCAN of ${at.toString(16)} failed: errno ${-count}`);
    const numbers = Array.from(scanned.subarray(0, count));
    const next = numbers.pop() ?? end;
    for (let i = 0; i + 1 < numbers.length; i += 2) yield { start: numbers[i] ?? 0, end: numbers[i + 1] ?? 0 };
    // What is left out of a list of written pages would be taken for unwritten.
    if (next <= at) throw new DrayError("INTERNAL", `PAGEMAP_SCAN does not get past ${at.toString(16)}`);
    at = next;
  }
  return true;
}

/** For kernels before 6.7, which tell one page at a time. */
function* fromEntries(pagemapFd: number, range: AddressRange, ownOnly: boolean): Generator<AddressRange> {
  let from: number | undefined;
  for (let at = range.start; at < range.end; ) {
    const wanted = Math.min(entries.length, ((range.end - at) / PAGE_BYTES) * ENTRY_BYTES);
    const bytes = readSync(pagemapFd, entries, 0, wanted, (at / PAGE_BYTES) * ENTRY_BYTES);
    if (bytes === 0) break;
    const chunk = Buffer.from(entries.subarray(0, bytes));
    for (let offset = 0; offset + ENTRY_BYTES <= chunk.length; offset += ENTRY_BYTES, at += PAGE_BYTES) {
      const upper = chunk.readUInt32LE(offset + 4);
      const counts = (upper & PRESENT_OR_SWAPPED) !== 0 && !(ownOnly && (upper & FILE_OR_SHARED) !== 0);
      if (counts) from ??= at;
      else if (from !== undefined) {
        yield { start: from, end: at };
        from = undefined;
      }
    }
  }
  if (from !== undefined) yield { start: from, end: range.end };
}

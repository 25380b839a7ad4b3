/** Which pages of a mapping are there, in memory or swapped out, without touching one: /proc/PID/pagemap. */
import { readSync } from "node:fs";
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
    for (let at = start; at < end; ) {
      const count = addon().scan(pagemapFd, at, end, 0, excluded, scanned);
      if (count === -constants.errno.ENOTTY) {
        knowsScan = false;
        break;
      }
      // Its last process has ended; reading the same file finds its end then.
      if (count === -constants.errno.ESRCH) return;
      if (count < 0) throw new DrayError("INTERNAL", `PAGEMAP_SCAN of ${at.toString(16)} failed: errno ${-count}`);
      const numbers = Array.from(scanned.subarray(0, count));
      const next = numbers.pop() ?? end;
      for (let i = 0; i + 1 < numbers.length; i += 2) yield { start: numbers[i] ?? 0, end: numbers[i + 1] ?? 0 };
      if (next <= at) return;
      at = next;
    }
    if (knowsScan) return;
  }
  yield* fromEntries(pagemapFd, { start, end }, ownOnly);
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

/**
 * How pages of memory travel from agent to agent, inside of a file of the page stream. Pure.
 *
 * ```
 *  control page                                         changes      content of its PRESENT ranges    control page …
 * ┌───────┬───────┬────────┬────────┬───┬──────┬───────┬─────────┬──────┬──────┬──────┬───┬──────┬────────────────
 * │ magic │ count │ record │ record │ … │ zero │ bytes │ of its  │ zero │ page │ page │ … │ page │
 * │ u32   │ u32   │ 24     │ 24     │   │      │ u32   │ deltas  │      │ 4096 │      │   │      │
 * └───────┴───────┴────────┴────────┴───┴──────┴───────┴─────────┴──────┴──────┴──────┴───┴──────┴────────────────
 *  ├────────────────────── 4096 ──────────────────────┤├─ 4096 * n ────┤
 *
 *  record: u32 operation │ u32 detail │ u64 address │ u64 number          little-endian
 *          open          │ image kind │ 0           │ id of the image
 *          range         │ flags      │ address     │ pages
 *          end           │ 0          │ 0           │ 0
 *          repeat        │ flags, top │ address     │ the page that the first
 *                        │ 8 bits;    │             │ repeats, counted from 0
 *                        │ pages      │             │ over the stream
 *          delta         │ flags, top │ address of  │ bytes of its change
 *                        │ 8 bits     │ one page    │
 * ```
 *
 * Everything is a multiple of a page, so that a frame holds whole pages, of which the page stream leaves out those that
 * hold one byte over and over. `range` belongs to the image that was opened last; ranges of an image ascend. `end` is
 * the last record of the last control page; what ends without it was cut off.
 *
 * `repeat` is a range of pages that are PRESENT without content: they have that of pages that came before, in this
 * stream, one after the other, whatever image they belong to. Counted are all pages that are PRESENT, repeated or not.
 *
 * `delta` is a page that is PRESENT, too, as a change of what the parent has (memory-image/page-delta.ts). The changes of a
 * control page's deltas follow it, one behind the other; `bytes`, at the end of the control page, says how long they are.
 */
import type { ImageKind } from "../memory-image/page-range.ts";

/** "DMS1". */
export const MAGIC = 0x31534d44;
export const HEAD_BYTES = 8;
export const RECORD_BYTES = 24;
/** Records of a control page. */
export const RECORD_LIMIT = 170;

export const OPERATIONS = { open: 1, range: 2, end: 3, repeat: 4, delta: 5 } as const;
/** Of a repeat, and of a delta: what the detail is divided by to get the flags; the rest is pages. */
export const REPEAT_FLAGS = 2 ** 24;
/** Pages of one repeat: a record is small, what it makes the receiver write is not. */
export const REPEAT_PAGES_LIMIT = 2 ** 15;
/** Where a control page says how long its changes are, and the most that they may be. */
export const CHANGES_AT = 4092;
export const CHANGES_LIMIT = 256 * 1024;
export const IMAGE_KINDS: Readonly<Record<ImageKind, number>> = { task: 1, shared: 2 };

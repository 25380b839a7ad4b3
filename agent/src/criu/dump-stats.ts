/** CRIU's stats-dump image: two magics, a size, and a protobuf message. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { messageOf, numberOf, readFields } from "./protobuf-fields.ts";

export interface DumpStats {
  /** Microseconds. */
  readonly freezingUs: number;
  readonly frozenUs: number;
  readonly memdumpUs: number;
  readonly memwriteUs: number;
  /** Pages of 4096 bytes. */
  readonly pagesScanned: number;
  readonly pagesSkippedParent: number;
  readonly pagesWritten: number;
  readonly pagesLazy: number;
}

const IMAGE_MAGIC = 0x55105940;
const STATS_MAGIC = 0x57093306;
const HEAD_BYTES = 12;
/** Number of the field `dump` in stats_entry. */
const DUMP = 1;

/** Throws DrayError CORRUPT_STREAM if it is none. */
export function parseDumpStats(image: Uint8Array): DumpStats {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < HEAD_BYTES || view.getUint32(0, true) !== IMAGE_MAGIC || view.getUint32(4, true) !== STATS_MAGIC) {
    throw broken("no stats image");
  }
  const end = HEAD_BYTES + view.getUint32(8, true);
  if (end > image.length) throw broken("cut short");
  const dump = messageOf(readFields(image.subarray(HEAD_BYTES, end)), DUMP);
  if (dump === null) throw broken("no statistics of a dump");
  const fields = readFields(dump);
  const number = (field: number) => numberOf(fields, field);
  return {
    freezingUs: number(1),
    frozenUs: number(2),
    memdumpUs: number(3),
    memwriteUs: number(4),
    pagesScanned: number(5),
    pagesSkippedParent: number(6),
    pagesWritten: number(7),
    pagesLazy: number(9),
  };
}

function broken(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `CRIU's statistics cannot be read: ${what}`);
}

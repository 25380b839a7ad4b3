/** CRIU's stats-dump image: two magics, a size, and a protobuf message. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

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
  const dump = readFields(image.subarray(HEAD_BYTES, end)).get(DUMP);
  if (!(dump instanceof Uint8Array)) throw broken("no statistics of a dump");
  const fields = readFields(dump);
  const number = (field: number) => {
    const value = fields.get(field);
    return typeof value === "number" ? value : 0;
  };
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

/** Varints and length-delimited fields; CRIU's statistics have no others. */
function readFields(bytes: Uint8Array): Map<number, number | Uint8Array> {
  const fields = new Map<number, number | Uint8Array>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw broken("cut short");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = Math.floor(tag / 8);
    if (tag % 8 === 0) fields.set(field, varint());
    else if (tag % 8 === 2) {
      const length = varint();
      if (at + length > bytes.length) throw broken("cut short");
      fields.set(field, bytes.subarray(at, at + length));
      at += length;
    } else throw broken(`a field of wire type ${tag % 8}`);
  }
  return fields;
}

function broken(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `CRIU's statistics cannot be read: ${what}`);
}

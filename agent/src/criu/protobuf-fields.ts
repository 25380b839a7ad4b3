/** The little of protobuf that CRIU's images need: varints and length-delimited fields, by number. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { VarintReader } from "../memory-image/varint.ts";

export type Field = number | Uint8Array;

/** All values of each field, in order. Throws DrayError CORRUPT_STREAM. */
export function readFields(bytes: Uint8Array): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  const reader = new VarintReader(bytes);
  const varint = () => {
    const value = reader.next();
    if (value === null) throw broken("cut short");
    return value;
  };
  const slice = (length: number) => {
    const start = reader.at;
    if (start + length > bytes.length) throw broken("cut short");
    reader.at = start + length;
    return bytes.subarray(start, start + length);
  };
  while (!reader.isAtEnd) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    let value: Field;
    switch (tag % 8) {
      case 0:
        value = varint();
        break;
      case 1:
        value = slice(8);
        break;
      case 2:
        value = slice(varint());
        break;
      case 5:
        value = slice(4);
        break;
      default:
        throw broken(`a field of wire type ${tag % 8}`);
    }
    const values = fields.get(number);
    if (values === undefined) fields.set(number, [value]);
    else values.push(value);
  }
  return fields;
}

/** The last value of a field as a number; `absent` if there is none. */
export function numberOf(fields: ReadonlyMap<number, readonly Field[]>, number: number, absent = 0): number {
  const value = fields.get(number)?.at(-1);
  return typeof value === "number" ? value : absent;
}

/** All values of a repeated field of numbers, packed or not. */
export function numbersOf(fields: ReadonlyMap<number, readonly Field[]>, number: number): number[] {
  return (fields.get(number) ?? []).flatMap((value) => (typeof value === "number" ? [value] : unpack(value)));
}

/** The last value of a field as a message; null if there is none. */
export function messageOf(fields: ReadonlyMap<number, readonly Field[]>, number: number): Uint8Array | null {
  const value = fields.get(number)?.at(-1);
  return value instanceof Uint8Array ? value : null;
}

/** The records of an image: u32 size and message, behind two magics. Trailing data that belongs to a record is not known here. */
export function readRecords(image: Uint8Array, limit = Number.POSITIVE_INFINITY): Uint8Array[] {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 8; at < image.length && records.length < limit; ) {
    if (at + 4 > image.length) throw broken("cut short");
    const end = at + 4 + view.getUint32(at, true);
    if (end > image.length) throw broken("cut short");
    records.push(image.subarray(at + 4, end));
    at = end;
  }
  return records;
}

function unpack(bytes: Uint8Array): number[] {
  const numbers: number[] = [];
  for (const reader = new VarintReader(bytes); !reader.isAtEnd; ) {
    const value = reader.next();
    if (value === null) throw broken("cut short");
    numbers.push(value);
  }
  return numbers;
}

function broken(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `an image of CRIU cannot be read: ${what}`);
}

/**
 * Reads a tar stream in POSIX (pax) format member by member while it passes through, so that each member can be
 * checked, and left out, before the program that unpacks it sees it. Only what GNU tar writes with `--format=posix`
 * is let through; anything else is refused.
 *
 *   header 'x' (optional) + its records | header of the member | data, padded to 512 | … | two zero blocks | padding
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { ByteQueue } from "./byte-queue.ts";

const BLOCK_BYTES = 512;
const END_MARK = Buffer.alloc(2 * BLOCK_BYTES);
/** Attributes of one file are at most 64 KiB each, and few. */
const EXTENDED_LIMIT_BYTES = 16 * 1024 * 1024;

export type TarType = "file" | "link" | "symlink" | "character" | "block" | "directory" | "fifo";

const TYPES: Readonly<Record<string, TarType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "link",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
};

/** All strings are byte strings (latin1). */
export interface TarMember {
  readonly type: TarType;
  readonly name: string;
  /** Of links and symlinks. */
  readonly linkName: string;
  /** Bytes of data that follow in the stream. */
  readonly storedBytes: number;
  /** Permissions, without the type. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended header records by keyword. */
  readonly records: ReadonlyMap<string, string>;
}

/**
 * Yields the bytes of the stream without the members for which `keep` says no. Throws CORRUPT_STREAM if the stream is
 * no such tar or ends before its end mark. `keep` may throw to refuse the stream; what came before has passed then.
 */
export async function* filterTar(
  source: AsyncIterable<Buffer>,
  keep: (member: TarMember) => boolean | Promise<boolean>,
): AsyncGenerator<Buffer, void, void> {
  const queue = new ByteQueue(source, () => corrupt("ends in the middle"));
  try {
    for (;;) {
      const held: Buffer[] = [];
      let records: ReadonlyMap<string, string> = new Map();
      let header = await queue.exactly(BLOCK_BYTES);
      if (isZero(header)) {
        await drain(queue);
        yield END_MARK;
        return;
      }
      verifyChecksum(header);
      if (typeFlag(header) === "x") {
        const bytes = numberField(header, 124, 12);
        if (bytes > EXTENDED_LIMIT_BYTES) throw corrupt("has an extended header that is too large");
        const data = await queue.exactly(padded(bytes));
        held.push(header, data);
        records = parseRecords(data.subarray(0, bytes));
        header = await queue.exactly(BLOCK_BYTES);
        verifyChecksum(header);
      }
      const member = parseMember(header, records);
      held.push(header);
      const kept = await keep(member);
      if (kept) yield Buffer.concat(held);
      for (let missing = padded(member.storedBytes); missing > 0; ) {
        const part = await queue.some(missing);
        if (part === undefined) throw corrupt("ends in the middle of a file");
        missing -= part.length;
        if (kept) yield part;
      }
    }
  } finally {
    await queue.close();
  }
}

/** The sender fills up its last record with zeros; it must be able to get rid of them. */
async function drain(queue: ByteQueue): Promise<void> {
  for (let part = await queue.some(65_536); part !== undefined; part = await queue.some(65_536)) {
    if (!isZero(part)) throw corrupt("goes on after its end mark");
  }
}

function parseMember(header: Buffer, records: ReadonlyMap<string, string>): TarMember {
  const flag = typeFlag(header);
  const type = TYPES[flag];
  if (type === undefined) throw corrupt(`has a member of unknown type ${JSON.stringify(flag)}`);
  const prefix = textField(header, 345, 155);
  const shortName = textField(header, 0, 100);
  const storedBytes = records.has("size") ? decimal(records.get("size")) : numberField(header, 124, 12);
  const identity = (keyword: string, start: number) =>
    records.has(keyword) ? decimal(records.get(keyword)) : numberField(header, start, 8);
  if (storedBytes !== 0 && type !== "file") throw corrupt("has data for a member that is no file");
  return {
    type,
    name:
      records.get("GNU.sparse.name") ?? records.get("path") ?? (prefix === "" ? shortName : `${prefix}/${shortName}`),
    linkName: records.get("linkpath") ?? textField(header, 157, 100),
    storedBytes,
    mode: numberField(header, 100, 8),
    uid: identity("uid", 108),
    gid: identity("gid", 116),
    deviceMajor: numberField(header, 329, 8),
    deviceMinor: numberField(header, 337, 8),
    records,
  };
}

/** Records are "<length> <keyword>=<value>\n"; the length counts all of it. */
function parseRecords(data: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const bytes = space === -1 ? Number.NaN : decimal(data.toString("latin1", at, space));
    const end = at + bytes;
    const equals = data.indexOf(0x3d, space);
    if (!(end <= data.length) || equals === -1 || equals >= end || data[end - 1] !== 0x0a) {
      throw corrupt("has a damaged extended header");
    }
    records.set(data.toString("latin1", space + 1, equals), data.toString("latin1", equals + 1, end - 1));
    at = end;
  }
  return records;
}

function verifyChecksum(header: Buffer): void {
  let sum = 0;
  for (let i = 0; i < BLOCK_BYTES; i++) sum += i >= 148 && i < 156 ? 0x20 : (header[i] ?? 0);
  if (sum !== numberField(header, 148, 8)) throw corrupt("has a header with a wrong checksum");
}

function typeFlag(header: Buffer): string {
  return header.toString("latin1", 156, 157);
}

function textField(header: Buffer, start: number, bytes: number): string {
  const text = header.toString("latin1", start, start + bytes);
  const end = text.indexOf("\0");
  return end === -1 ? text : text.slice(0, end);
}

/** Octal digits, or base 256 with the highest bit set. */
function numberField(header: Buffer, start: number, bytes: number): number {
  if (((header[start] ?? 0) & 0x80) !== 0) {
    let value = BigInt((header[start] ?? 0) & 0x7f);
    for (let i = start + 1; i < start + bytes; i++) value = value * 256n + BigInt(header[i] ?? 0);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt("has a number that is too large");
    return Number(value);
  }
  const text = textField(header, start, bytes).trim();
  if (!/^[0-7]*$/.test(text)) throw corrupt("has a damaged number");
  return text === "" ? 0 : Number.parseInt(text, 8);
}

function decimal(text: string | undefined): number {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text)) throw corrupt("has a damaged number");
  return Number(text);
}

function padded(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the layer stream ${what}`);
}

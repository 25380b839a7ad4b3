import fc from "fast-check";
import { expect, test } from "vitest";
import { SparseMap } from "./sparse-map.ts";
import type { TarMember } from "./tar-filter.ts";

const BLOCK_BYTES = 512;

interface Piece {
  readonly hole: number;
  readonly content: Uint8Array;
}

/** As GNU tar makes it: a last piece of no bytes where the file ends with a hole. */
function sparse(pieces: readonly Piece[], tail: number) {
  let end = 0;
  const numbers: number[] = [];
  for (const { hole, content } of pieces) {
    numbers.push(end + hole, content.length);
    end += hole + content.length;
  }
  if (tail > 0) numbers.push(end + tail, 0);
  const lines = [numbers.length / 2, ...numbers].map((number) => `${number}\n`).join("");
  const map = Buffer.alloc(Math.ceil(lines.length / BLOCK_BYTES) * BLOCK_BYTES);
  map.write(lines, "latin1");
  const file = Buffer.concat([
    ...pieces.flatMap(({ hole, content }) => [Buffer.alloc(hole), content]),
    Buffer.alloc(tail),
  ]);
  return { data: Buffer.concat([map, ...pieces.map(({ content }) => content)]), file };
}

function memberOf(sizeBytes: number, major = "1"): TarMember {
  const records = new Map([
    ["GNU.sparse.realsize", String(sizeBytes)],
    ["GNU.sparse.major", major],
  ]);
  const nobody = { mode: 0o600, uid: 0, gid: 0, deviceMajor: 0, deviceMinor: 0 };
  return { type: "file", name: "f", linkName: "", storedBytes: 0, ...nobody, records };
}

function mapOf(sizeBytes: number): SparseMap {
  const map = SparseMap.of(memberOf(sizeBytes));
  if (map === undefined) throw new Error("not sparse");
  return map;
}

function collect(map: SparseMap, chunks: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  const keep = (piece: Buffer | number) => parts.push(typeof piece === "number" ? Buffer.alloc(piece) : piece);
  for (const chunk of chunks) for (const piece of map.expand(chunk)) keep(piece);
  for (const piece of map.end()) keep(piece);
  return Buffer.concat(parts);
}

test("gives the file back, however the data are cut", () => {
  const piece = fc.record({ hole: fc.nat(3000), content: fc.uint8Array({ minLength: 1, maxLength: 900 }) });
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 60 }),
      fc.nat(2000),
      fc.array(fc.nat(700), { maxLength: 20 }),
      (pieces, tail, cuts) => {
        const { data, file } = sparse(pieces, tail);
        const chunks: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(data.subarray(at, at + cut));
          at += cut;
        }
        chunks.push(data.subarray(at));
        expect(collect(mapOf(file.length), chunks)).toEqual(file);
      },
    ),
  );
});

test("a member without a map is none", () => {
  expect(SparseMap.of({ ...memberOf(1), records: new Map() })).toBeUndefined();
});

test.each([
  ["an older format", () => SparseMap.of(memberOf(10, "0"))],
  ["a number that is none", () => collect(mapOf(10), [Buffer.from("1\nx\n1\n".padEnd(BLOCK_BYTES, "\0"))])],
  ["a number without an end", () => collect(mapOf(10), [Buffer.from("1".repeat(100))])],
  ["more data than pieces", () => collect(mapOf(10), [Buffer.from(`${"1\n0\n3\n".padEnd(BLOCK_BYTES, "\0")}abcd`)])],
  [
    "pieces out of order",
    () => collect(mapOf(10), [Buffer.from(`${"2\n6\n2\n0\n2\n".padEnd(BLOCK_BYTES, "\0")}abcd`)]),
  ],
])("%s is refused", (_, read) => {
  expect(read).toThrow(expect.objectContaining({ reason: "CORRUPT_STREAM" }));
});

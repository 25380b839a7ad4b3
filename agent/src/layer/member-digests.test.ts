/** A file that changes while tar reads it, so that what comes is not what was announced. */
import { expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { DIGEST_BYTES, DIGEST_KEY_BYTES } from "../native/addon.ts";
import { BATCH_PAGES } from "./file-pages.ts";
import { MemberDigests } from "./member-digests.ts";
import { SparseMap } from "./sparse-map.ts";
import type { TarMember } from "./tar-filter.ts";

const KEY = Buffer.alloc(DIGEST_KEY_BYTES, 7);
const BATCH_BYTES = BATCH_PAGES * PAGE_BYTES;

/** Of a sparse file said to have so many bytes, with these pieces of ones. */
function digestsOf(sizeBytes: number, pieces: readonly (readonly [offset: number, bytes: number])[]) {
  const map = [pieces.length, ...pieces.flat()].map((number) => `${number}\n`).join("");
  const head = Buffer.alloc(Math.ceil(map.length / 512) * 512);
  head.write(map, "latin1");
  const data = Buffer.alloc(
    pieces.reduce((sum, [, bytes]) => sum + bytes, 0),
    1,
  );
  const member = {
    type: "file",
    storedBytes: head.length + data.length,
    records: new Map([
      ["GNU.sparse.realsize", String(sizeBytes)],
      ["GNU.sparse.major", "1"],
    ]),
  } as unknown as TarMember;
  const digests = new MemberDigests(member.storedBytes, Math.ceil(sizeBytes / PAGE_BYTES), SparseMap.of(member), KEY);
  digests.add(head);
  digests.add(data);
  return digests.end();
}

test("a sparse file has a digest for each page, holes included", () => {
  const digests = digestsOf(10 * PAGE_BYTES, [
    [2 * PAGE_BYTES, PAGE_BYTES],
    [10 * PAGE_BYTES, 0],
  ]);
  expect(digests?.length).toBe(10 * DIGEST_BYTES);
  const at = (page: number) => digests?.toString("hex", page * DIGEST_BYTES, (page + 1) * DIGEST_BYTES);
  expect(new Set(Array.from({ length: 10 }, (_, page) => at(page))).size).toBe(2);
  expect(at(0)).not.toBe(at(2));
});

test.each([
  ["a little beyond what was announced", [[0, 3 * PAGE_BYTES]]],
  ["far beyond it", [[0, 3 * BATCH_BYTES]]],
  ["in a hole that ends far beyond it", [[4 * BATCH_BYTES, PAGE_BYTES]]],
  [
    "before what has been",
    [
      [3 * PAGE_BYTES, PAGE_BYTES],
      [PAGE_BYTES, 0],
    ],
  ],
  // As tar writes it: what has grown is beyond the end that it knew.
  [
    "beyond it, and its end before",
    [
      [0, 3 * PAGE_BYTES],
      [2 * PAGE_BYTES, 0],
    ],
  ],
] as const)("of one whose data is %s nothing is known", (_, pieces) => {
  expect(digestsOf(2 * PAGE_BYTES, pieces)).toBeUndefined();
});

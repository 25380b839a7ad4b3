import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DrayError } from "../errors/dray-error.ts";
import { DATA_BYTES } from "./frame.ts";
import { DESCRIPTION_BYTES, packPages, unpackPages } from "./uniform-pages.ts";

/** A letter for a page of nothing else, undefined for noise. */
const pages = fc.array(fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined }), { maxLength: 32 });

function contentOf(letters: readonly (number | undefined)[], tailBytes: number): Buffer {
  const parts = letters.map((letter) => (letter === undefined ? randomBytes(4096) : Buffer.alloc(4096, letter)));
  return Buffer.concat([...parts, randomBytes(tailBytes)]).subarray(0, DATA_BYTES);
}

const SEED = 0xdeadbeef;

function pack(content: Buffer): { packed: Buffer; crc: number } {
  const space = Buffer.concat([content, Buffer.alloc(DESCRIPTION_BYTES)]);
  const { bytes, crc } = packPages(space, content.length, SEED);
  return { packed: space.subarray(0, bytes), crc };
}

function reasonOf(packed: Buffer): string {
  try {
    unpackPages(
      packed,
      (bytes) => {
        expect(bytes).toBeLessThanOrEqual(DATA_BYTES);
        return Buffer.alloc(bytes);
      },
      () => SEED,
    );
  } catch (error) {
    return error instanceof DrayError ? error.reason : `not ours: ${error}`;
  }
  return "accepted";
}

test("pages of one byte are left out, all come back", () => {
  fc.assert(
    fc.property(pages, fc.integer({ min: 1, max: 4095 }), (letters, tailBytes) => {
      const content = contentOf(letters, tailBytes);
      const { packed, crc } = pack(content);
      const left = content.length - 4096 * letters.filter((letter) => letter !== undefined).length;
      const ranges = letters.filter((letter, page) => letter !== undefined && letter !== letters[page - 1]).length;
      expect(packed.length).toBe(left + 3 * ranges + DESCRIPTION_BYTES);
      const unpacked = unpackPages(packed, Buffer.alloc, () => SEED);
      expect(unpacked.original.equals(content)).toBe(true);
      expect(unpacked.crc).toBe(crc);
    }),
  );
});

test("a page in another place, or another byte in place of a page, has another crc", () => {
  const content = contentOf([undefined, 7, undefined, 0, undefined], 100);
  const { crc } = pack(content);
  const moved = Buffer.concat([content.subarray(4096, 8192), content.subarray(0, 4096), content.subarray(8192)]);
  expect(pack(moved).crc).not.toBe(crc);
  const other = Buffer.from(content).fill(8, 4096, 8192);
  expect(pack(other).crc).not.toBe(crc);
});

test("a frame of zeros is one range", () => {
  const { packed } = pack(Buffer.alloc(DATA_BYTES));
  expect(packed.toString("hex")).toBe("0040000100040000");
});

test("a page that differs in one byte is kept", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4095 }), (at) => {
      const content = Buffer.alloc(3 * 4096, 7);
      content[4096 + at] = 8;
      const { packed, crc } = pack(content);
      expect(packed.length).toBeGreaterThan(4096);
      const unpacked = unpackPages(packed, Buffer.alloc, () => SEED);
      expect(unpacked.original.equals(content)).toBe(true);
      expect(unpacked.crc).toBe(crc);
    }),
  );
});

test("a truncated or changed description is CORRUPT_STREAM, or another content of the same bounds", () => {
  const { packed } = pack(contentOf([0, undefined, 255, 255, undefined, 1, 1, 1, 0, undefined], 100));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: packed.length - 1 }), (bytes) => {
      expect(reasonOf(packed.subarray(0, bytes))).toMatch(/^CORRUPT_STREAM$|^accepted$/);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 23 }), fc.integer({ min: 1, max: 255 }), (fromEnd, change) => {
      const bytes = Buffer.from(packed);
      const at = bytes.length - fromEnd;
      bytes[at] = (bytes[at] as number) ^ change;
      // Six ranges of three bytes come before their count, of one byte, and the length, of four.
      expect(reasonOf(bytes)).toMatch(fromEnd <= 5 ? /^CORRUPT_STREAM$/ : /^CORRUPT_STREAM$|^accepted$/);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      expect(reasonOf(Buffer.from(noise))).toMatch(/^CORRUPT_STREAM$|^accepted$/);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ["nothing", ""],
  ["no content", "0000000000"],
  ["more than a frame", "00404140014101" + "0200041000"],
  ["a range beyond the end", "000241" + "0100001000"],
  ["a range of no pages", "000041" + "0100000000"],
  ["ranges that overlap", "000241010141" + "0200003000"],
  ["ranges in the wrong order", "010141000141" + "0200002000"],
  ["more ranges than there are bytes", "000141" + "0200001000"],
  ["fewer bytes than it says", "4141" + "0000000003"],
  ["half a length", "0001"],
])("%s is CORRUPT_STREAM", (_what, hex) => {
  expect(reasonOf(Buffer.from(hex, "hex"))).toBe("CORRUPT_STREAM");
});

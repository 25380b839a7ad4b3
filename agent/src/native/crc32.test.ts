import { randomFillSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { crc32 as crc32OfZlib } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { addon } from "./addon.ts";

const { crc32 } = addon();
const isFaster = crc32(Buffer.alloc(0), 0) >= 0;
/** Of processors that do it faster, as Linux calls them. */
const NEEDED = ["avx512f", "avx512vl", "vpclmulqdq"];
const noise = randomFillSync(Buffer.alloc(9000));

test.runIf(isFaster)("is that of zlib, of any bytes at any place, after any others", () => {
  fc.assert(
    fc.property(fc.nat(300), fc.nat(8000), fc.nat(0xffff_ffff), fc.boolean(), (from, length, seed, zeros) => {
      const bytes = (zeros ? Buffer.alloc(noise.length) : noise).subarray(from, from + length);
      expect(crc32(bytes, seed)).toBe(crc32OfZlib(bytes, seed));
    }),
    { numRuns: 2000 },
  );
});

test.runIf(isFaster)("goes on from where it was", () => {
  fc.assert(
    fc.property(fc.nat(noise.length), (at) => {
      expect(crc32(noise.subarray(at), crc32(noise.subarray(0, at), 0))).toBe(crc32OfZlib(noise));
    }),
  );
});

test("a processor that can does it", async () => {
  const features = new Set((await readFile("/proc/cpuinfo", "utf8")).split(/\s+/));
  expect(isFaster).toBe(NEEDED.every((feature) => features.has(feature)));
});

test("a processor that cannot says so, and what is no CRC is refused", () => {
  if (!isFaster) expect(crc32(noise, 0)).toBe(-1);
  expect(() => crc32(noise, -1)).toThrow("wrong arguments");
  expect(() => crc32(noise, 2 ** 32)).toThrow("wrong arguments");
});

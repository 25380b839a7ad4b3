import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { PAGE_BYTES } from "./page-range.ts";
import { applyDelta, DELTA_BYTES_MAX, encodeDelta } from "./page-delta.ts";

const changes = fc.array(
  fc.record({ at: fc.nat(PAGE_BYTES - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) }),
  { maxLength: 12 },
);

function changed(before: Buffer, all: readonly { readonly at: number; readonly bytes: Uint8Array }[]): Buffer {
  const after = Buffer.from(before);
  for (const { at, bytes } of all) after.set(bytes.subarray(0, PAGE_BYTES - at), at);
  return after;
}

test("gives the page as it is from the page as it was, wherever the two lie", () => {
  fc.assert(
    fc.property(changes, fc.nat(3), fc.nat(3), (all, beforePage, afterPage) => {
      const before = randomBytes(PAGE_BYTES);
      const after = changed(before, all);
      const [from, to] = [Buffer.alloc(4 * PAGE_BYTES), Buffer.alloc(4 * PAGE_BYTES)];
      before.copy(from, beforePage * PAGE_BYTES);
      after.copy(to, afterPage * PAGE_BYTES);
      const delta = encodeDelta(from, beforePage * PAGE_BYTES, to, afterPage * PAGE_BYTES);
      expect(delta?.length).toBeLessThanOrEqual(4 + all.length * 60);
      applyDelta(before, delta as Buffer);
      expect(before.equals(after)).toBe(true);
    }),
  );
});

test("is not made where the whole page costs little more", () => {
  const before = randomBytes(PAGE_BYTES);
  expect(encodeDelta(before, 0, randomBytes(PAGE_BYTES), 0)).toBeNull();
  // Every other run of words.
  const after = Buffer.from(before);
  for (let at = 0; at < PAGE_BYTES; at += 20) after.writeInt32LE(~before.readInt32LE(at), at);
  const delta = encodeDelta(before, 0, after, 0);
  expect(delta === null || delta.length <= DELTA_BYTES_MAX).toBe(true);
});

test("is refused where the page is another one, or the delta was damaged", () => {
  const before = randomBytes(PAGE_BYTES);
  const after = changed(before, [{ at: 8, bytes: new Uint8Array([1, 2, 3]) }]);
  const delta = encodeDelta(before, 0, after, 0) as Buffer;
  expect(() => applyDelta(randomBytes(PAGE_BYTES), delta)).toThrow("does not fit what is here");
  fc.assert(
    fc.property(fc.nat(delta.length * 8 - 1), fc.nat(delta.length), (bit, length) => {
      const damaged = Buffer.from(delta);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => applyDelta(Buffer.from(before), damaged)).toThrow(DrayError);
      if (length < delta.length)
        expect(() => applyDelta(Buffer.from(before), delta.subarray(0, length))).toThrow(DrayError);
    }),
  );
});

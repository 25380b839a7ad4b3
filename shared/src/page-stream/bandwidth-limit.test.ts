import fc from "fast-check";
import { expect, test } from "vitest";
import { BandwidthLimit } from "./bandwidth-limit.ts";
import { PAYLOAD_LIMIT_BYTES } from "./frame.ts";

test("over any sequence of takes the average keeps to the limit", () => {
  const takes = fc.array(fc.integer({ min: 1, max: PAYLOAD_LIMIT_BYTES }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(fc.integer({ min: 1000, max: 1e10 }), takes, (bytesPerSecond, sizes) => {
      const limit = new BandwidthLimit(bytesPerSecond, 0);
      let nowMs = 0;
      let sentBytes = 0;
      for (const size of sizes) {
        nowMs += limit.take(size, nowMs);
        sentBytes += size;
      }
      expect(nowMs).toBeGreaterThanOrEqual((sentBytes / bytesPerSecond) * 1000 * 0.999);
      expect(nowMs).toBeLessThanOrEqual((sentBytes / bytesPerSecond) * 1000 * 1.001 + 1e-6);
    }),
  );
});

test("saves up at most the burst while nothing is sent", () => {
  const limit = new BandwidthLimit(100_000_000, 0);
  expect(limit.take(10_000_000, 60_000)).toBe(0);
  expect(limit.take(10_000_000, 60_000)).toBeCloseTo(100);
});

test("what is given back was never taken, up to the burst", () => {
  const limit = new BandwidthLimit(100_000_000, 0);
  expect(limit.take(5_000_000, 0)).toBeCloseTo(50);
  limit.refund(4_000_000);
  expect(limit.take(0, 0)).toBeCloseTo(10);
  limit.refund(1_000_000_000);
  expect(limit.take(20_000_000, 0)).toBeCloseTo(100);
});

test("refuses a limit that lets nothing through", () => {
  expect(() => new BandwidthLimit(0, 0)).toThrow(RangeError);
});

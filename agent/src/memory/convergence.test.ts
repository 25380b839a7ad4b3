import fc from "fast-check";
import { expect, test } from "vitest";
import { decide, estimate, MOST_ROUNDS, type Round, type Target, type Verdict } from "./convergence.ts";

const MEGABYTE = 1e6;
const TARGET: Target = { maxDowntimeMs: 500, fixedMs: 400 };

interface Workload {
  readonly memoryBytes: number;
  /** Of the network, bytes a second. */
  readonly bandwidth: number;
  /** How fast memory changes, bytes a second, and how much of it at most. */
  readonly dirtyRate: number;
  readonly workingSetBytes: number;
  /** What looking through all of the memory takes. */
  readonly scanMs: number;
}

/** Plays rounds until the decision is another one; what it would send then, besides. */
function play(load: Workload, target: Target): { verdict: Verdict; rounds: Round[]; remainingBytes: number } {
  const rounds: Round[] = [];
  let pending = load.memoryBytes;
  for (;;) {
    const durationMs = Math.max(load.scanMs, (pending / load.bandwidth) * 1000);
    // What is sent is sent while others are looked at: the longer of the two counts, and sending takes its own time.
    rounds.push({ sentBytes: pending, durationMs, sendingMs: (pending / load.bandwidth) * 1000 });
    pending = Math.min(load.workingSetBytes, (load.dirtyRate * durationMs) / 1000);
    const verdict = decide(rounds, target);
    if (verdict.kind !== "round") return { verdict, rounds, remainingBytes: pending };
  }
}

const quiet: Workload = {
  memoryBytes: 1000 * MEGABYTE,
  bandwidth: 100 * MEGABYTE,
  dirtyRate: 5 * MEGABYTE,
  workingSetBytes: 300 * MEGABYTE,
  scanMs: 500,
};

test("memory that changes slowly is brought below the downtime that is wanted", () => {
  const { verdict, rounds, remainingBytes } = play(quiet, TARGET);
  expect(verdict.kind).toBe("switch");
  expect(rounds.length).toBeGreaterThan(1);
  expect(TARGET.fixedMs + (remainingBytes / quiet.bandwidth) * 1000).toBeLessThanOrEqual(500);
});

test("on a fast network rounds that take their time to look are not taken for slow ones", () => {
  const fast = { ...quiet, bandwidth: 1000 * MEGABYTE };
  expect(play(fast, TARGET).verdict.kind).toBe("switch");
  expect(play(fast, { maxDowntimeMs: null, fixedMs: 400 }).verdict.kind).toBe("switch");
});

test("memory that changes as fast as it is sent ends in a few rounds, with the reason", () => {
  const { verdict, rounds } = play({ ...quiet, dirtyRate: 120 * MEGABYTE }, TARGET);
  expect(verdict).toMatchObject({ kind: "stalled", why: "rounds-do-not-pay" });
  expect(rounds.length).toBeLessThan(5);
});

test("a downtime that the fixed costs alone exceed is not waited for", () => {
  const { verdict } = play(quiet, { maxDowntimeMs: 100, fixedMs: 400 });
  expect(verdict.kind).toBe("stalled");
});

test("without a wish the switch comes when the memory would not be felt", () => {
  const { verdict, remainingBytes } = play(quiet, { maxDowntimeMs: null, fixedMs: 400 });
  expect(verdict.kind).toBe("switch");
  expect((remainingBytes / quiet.bandwidth) * 1000).toBeLessThan(100);
});

test("one round is never enough to judge by", () => {
  const round: Round = { sentBytes: 4096, durationMs: 1, sendingMs: 1 };
  expect(decide([round], TARGET).kind).toBe("round");
  expect(estimate([round], TARGET).dirtyBytesPerSecond).toBe(0);
});

test("whatever the workload, rounds end, and a switch is expected to meet what was wanted", () => {
  const workload = fc.record({
    memoryBytes: fc.integer({ min: 1, max: 64_000 }).map((mb) => mb * MEGABYTE),
    bandwidth: fc.integer({ min: 1, max: 2000 }).map((mb) => mb * MEGABYTE),
    dirtyRate: fc.integer({ min: 0, max: 4000 }).map((mb) => mb * MEGABYTE),
    workingSetBytes: fc.integer({ min: 0, max: 64_000 }).map((mb) => mb * MEGABYTE),
    scanMs: fc.integer({ min: 1, max: 5000 }),
  });
  fc.assert(
    fc.property(workload, fc.option(fc.integer({ min: 1, max: 10_000 })), (load, maxDowntimeMs) => {
      const { verdict, rounds } = play(load, { maxDowntimeMs, fixedMs: 400 });
      expect(rounds.length).toBeLessThanOrEqual(MOST_ROUNDS);
      if (verdict.kind === "switch" && maxDowntimeMs !== null)
        expect(verdict.estimate.downtimeMs).toBeLessThanOrEqual(maxDowntimeMs);
    }),
  );
});

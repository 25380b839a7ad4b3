import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BOOT_CLOCK_STEP_MS } from "./boot-clock.ts";
import { GuardedLease, type LeaseCalls } from "./guarded-lease.ts";

const TTL_SECONDS = 6;
const GUARD_MS = 4_000 - BOOT_CLOCK_STEP_MS;

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A lease whose clock is the timers' own plus what the test adds for suspended time. */
function leaseWith(calls: Partial<LeaseCalls>) {
  const suspended = { ms: 0 };
  const clock = () => Date.now() + suspended.ms;
  const lease = new GuardedLease(
    { keepAlive: calls.keepAlive ?? (async () => TTL_SECONDS), revoke: calls.revoke ?? (async () => undefined) },
    "1",
    TTL_SECONDS,
    clock(),
    clock,
  );
  return { lease, suspended };
}

describe("GuardedLease", () => {
  test("lasts as long as keepalives are acknowledged", async () => {
    const { lease } = leaseWith({});
    await vi.advanceTimersByTimeAsync(60_000);
    expect(lease.held()).toBe(true);
    await lease.revoke();
    expect(lease.lost.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is lost at two thirds of its time without an answer", async () => {
    const { lease } = leaseWith({ keepAlive: () => new Promise(() => undefined) });
    await vi.advanceTimersByTimeAsync(GUARD_MS - 1);
    expect(lease.lost.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(2);
    expect(lease.lost.aborted).toBe(true);
  });

  test("counts from the sending of a keepalive, not from its answer", async () => {
    let sent = 0;
    const { lease } = leaseWith({
      // The first is answered 1.5 s after it was sent at 1 s; the others never.
      keepAlive: () =>
        sent++ === 0
          ? new Promise((resolve) => setTimeout(() => resolve(TTL_SECONDS), 1_500))
          : new Promise(() => undefined),
    });
    await vi.advanceTimersByTimeAsync(1_000 + GUARD_MS - 1);
    expect(lease.lost.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(2);
    expect(lease.lost.aborted).toBe(true);
  });

  test("an answer that comes after the guard's limit revives nothing", async () => {
    const { lease } = leaseWith({
      keepAlive: () => new Promise((resolve) => setTimeout(() => resolve(TTL_SECONDS), 5_000)),
    });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(lease.held()).toBe(false);
  });

  test("suspended time counts, before any timer has had its turn", () => {
    const { lease, suspended } = leaseWith({});
    suspended.ms = 5_000;
    expect(lease.held()).toBe(false);
    expect(lease.lost.aborted).toBe(true);
  });

  test("is lost at once when etcd says so, and failures alone are retried", async () => {
    let calls = 0;
    const { lease } = leaseWith({
      keepAlive: async () => {
        calls++;
        if (calls < 3) throw new Error("no answer");
        return calls < 5 ? TTL_SECONDS : 0;
      },
    });
    await vi.advanceTimersByTimeAsync(2_500);
    expect(calls).toBe(4);
    expect(lease.held()).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(lease.lost.aborted).toBe(true);
  });
});

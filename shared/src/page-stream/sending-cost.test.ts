import { expect, test } from "vitest";
import { SendingMeter } from "./sending-cost.ts";

const MIB = 1024 * 1024;

/** A thread whose idle time the test sets. */
function meter(): { readonly meter: SendingMeter; idle(ms: number): void } {
  let idleMs = 1000;
  return {
    meter: new SendingMeter(() => idleMs),
    idle(ms) {
      idleMs += ms;
    },
  };
}

test("nothing is said before enough was sent", () => {
  const { meter: it } = meter();
  it.sent(MIB - 1, 1);
  expect(it.cost).toBeUndefined();
  it.sent(1, 1);
  expect(it.cost).toEqual({ processorMs: 2 / MIB, waitMs: 0 });
});

test("idle time counts while something is on its way, and only then", () => {
  const { meter: it, idle } = meter();
  idle(100);
  it.sent(MIB, 2);
  it.waiting(true);
  idle(5);
  it.waiting(true);
  idle(3);
  it.waiting(false);
  idle(100);
  it.waiting(true);
  it.waiting(false);
  expect(it.cost).toEqual({ processorMs: 2 / MIB, waitMs: 8 / MIB });
});

test("what was held elsewhere counts as a wait", () => {
  const { meter: it } = meter();
  it.held(7);
  it.sent(MIB, 0);
  expect(it.cost?.waitMs).toBe(7 / MIB);
});

test("a link that has become slow, or fast again, is known after some tens of megabytes", () => {
  const { meter: it, idle } = meter();
  const send = (mib: number, waitMsPerMib: number) => {
    for (let sent = 0; sent < mib; sent++) {
      it.sent(MIB, 1);
      it.waiting(true);
      idle(waitMsPerMib);
      it.waiting(false);
    }
    return (it.cost?.waitMs ?? 0) * MIB;
  };
  expect(send(1000, 0)).toBe(0);
  expect(send(40, 10)).toBeGreaterThan(9);
  expect(send(1000, 10)).toBeLessThan(12);
  expect(send(40, 0)).toBeLessThan(1);
});

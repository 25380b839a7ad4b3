import { expect, test } from "vitest";
import { Standstill } from "./standstill.ts";

function clocked() {
  const clock = { nowMs: 1_000 };
  return { clock, standstill: new Standstill(() => clock.nowMs) };
}

test("lasts from the first freeze to the first time that it runs again", () => {
  const { clock, standstill } = clocked();
  standstill.begin();
  clock.nowMs += 300;
  standstill.begin();
  standstill.beganAtMost(9_000);
  expect(standstill.lastedMs).toBe(300);
  clock.nowMs += 100;
  standstill.end();
  clock.nowMs += 5_000;
  standstill.end();
  expect(standstill.lastedMs).toBe(400);
});

test("what was never frozen has not stood still", () => {
  const { standstill } = clocked();
  standstill.end();
  expect(standstill.lastedMs).toBe(0);
});

test("goes on after a restart of the agent; a wall clock that was set back counts nothing", () => {
  const { clock, standstill } = clocked();
  standstill.beganAtMost(2_500);
  clock.nowMs += 500;
  expect(standstill.lastedMs).toBe(3_000);
  const { standstill: other } = clocked();
  other.beganAtMost(-10_000);
  expect(other.lastedMs).toBe(0);
});

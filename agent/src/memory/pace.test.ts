import { expect, test } from "vitest";
import { Pace, type PaceClock } from "./pace.ts";

const SHARE = 0.7;
const NEVER = new AbortController().signal;

/** Time passes where somebody works, waits or rests, and only there. Rests end a little early, or late, as timers do. */
class Clock implements PaceClock {
  nowMs = 1000;
  readonly rests: number[] = [];
  readonly #earlyMs: number;

  constructor(earlyMs = 0) {
    this.#earlyMs = earlyMs;
  }

  now(): number {
    return this.nowMs;
  }

  pause(durationMs: number): Promise<void> {
    this.rests.push(durationMs);
    this.nowMs += durationMs === 0 ? 0 : durationMs - this.#earlyMs;
    return Promise.resolve();
  }

  pass(durationMs: number): void {
    this.nowMs += durationMs;
  }
}

test("it works for as much of the time as it may, and for no more", async () => {
  const clock = new Clock();
  const pace = new Pace(SHARE, clock);
  for (let piece = 0; piece < 100; piece++) {
    pace.work(() => clock.pass(3 + (piece % 5)));
    await pace.turn(NEVER);
  }
  // The last piece may be short, and not be rested from.
  expect(500 / (clock.nowMs - 1000)).toBeCloseTo(SHARE, 2);
  expect(pace.totalMs).toBeCloseTo(clock.nowMs - 1000);
});

test.each([
  ["rests too short for a timer", 1.9, 0],
  ["timers that go off early", 0, 0.9],
])("%s are made up for", async (_, waitedMs, earlyMs) => {
  const clock = new Clock(earlyMs);
  const pace = new Pace(SHARE, clock);
  for (let piece = 0; piece < 100; piece++) {
    pace.work(() => clock.pass(5));
    clock.pass(waitedMs);
    await pace.turn(NEVER);
  }
  expect(500 / (clock.nowMs - 1000)).toBeCloseTo(SHARE, 2);
});

test("waiting for the network counts as rest, and is not saved up", async () => {
  const clock = new Clock();
  const pace = new Pace(0.5, clock);
  const round = async (waitedMs: number) => {
    pace.work(() => clock.pass(10));
    clock.pass(waitedMs);
    await pace.turn(NEVER);
  };
  await round(4);
  await round(1000);
  await round(0);
  expect(clock.rests).toEqual([6, 0, 10]);
  // The network's time is not its own.
  expect(pace.totalMs).toBe(46);
});

test("it does not rest from a piece of work that nobody has to wait for", async () => {
  const clock = new Clock();
  const pace = new Pace(0.5, clock);
  pace.work(() => clock.pass(Pace.LONGEST_WORK_MS - 1));
  await pace.turn(NEVER);
  expect(clock.rests).toEqual([]);
  pace.work(() => clock.pass(1));
  await pace.turn(NEVER);
  expect(clock.rests).toEqual([Pace.LONGEST_WORK_MS]);
});

test("work that fails is work", async () => {
  const clock = new Clock();
  const pace = new Pace(0.5, clock);
  const fail = () => {
    clock.pass(10);
    throw new Error("no");
  };
  expect(() => pace.work(fail)).toThrow("no");
  await pace.turn(NEVER);
  expect(clock.rests).toEqual([10]);
});

test("calling it off ends the rest", async () => {
  // One of hours, by the clock of the system.
  const pace = new Pace(1e-6);
  pace.work(() => {
    for (const endsAt = performance.now() + Pace.LONGEST_WORK_MS; performance.now() < endsAt; );
  });
  const calling = new AbortController();
  const resting = pace.turn(calling.signal);
  calling.abort(new Error("called off"));
  await expect(resting).rejects.toThrow();
});

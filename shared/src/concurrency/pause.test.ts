import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { pause, pauseAtMost } from "./pause.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("lasts as long as it was asked to, and leaves no listener behind", async () => {
  const { signal } = new AbortController();
  let isOver = false;
  const paused = pause(500, signal).then(() => {
    isOver = true;
  });
  await vi.advanceTimersByTimeAsync(499);
  expect(isOver).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await paused;
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a signal ends it with its reason, and no timer is left", async () => {
  const called = new AbortController();
  const paused = pause(500, called.signal);
  called.abort(new Error("called off"));
  await expect(paused).rejects.toThrow("called off");
  await expect(pause(500, called.signal)).rejects.toThrow("called off");
  expect(vi.getTimerCount()).toBe(0);
});

test("for those who look at the signal themselves it returns", async () => {
  const called = new AbortController();
  const paused = pauseAtMost(500, called.signal);
  called.abort(new Error("called off"));
  await paused;
  await pauseAtMost(500, called.signal);
  expect(vi.getTimerCount()).toBe(0);
});

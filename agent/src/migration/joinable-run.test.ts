import { expect, it } from "vitest";
import { JoinableRun, type Report } from "./joinable-run.ts";

const step = (name: string) => ({ step: name, doneBytes: 0, totalBytes: 0, message: "" });

async function collect<T>(generator: AsyncGenerator<{ step: string }, T>) {
  const seen: string[] = [];
  for (;;) {
    const { value, done } = await generator.next();
    if (done) return { seen, result: value as T };
    seen.push((value as { step: string }).step);
  }
}

it("gives every caller the progress from when it came and the one result", async () => {
  let report: Report = () => undefined;
  let finish: (value: number) => void = () => undefined;
  let started = 0;
  const run = new JoinableRun<number>((tell) => {
    started++;
    report = tell;
    return new Promise((resolve) => {
      finish = resolve;
    });
  });
  const first = collect(run.follow(AbortSignal.timeout(5_000)));
  report(step("a"));
  await new Promise(setImmediate);
  const second = collect(run.follow(AbortSignal.timeout(5_000)));
  report(step("b"));
  await new Promise(setImmediate);
  finish(42);
  expect(await first).toEqual({ seen: ["a", "b"], result: 42 });
  expect(await second).toEqual({ seen: ["a", "b"], result: 42 });
  expect(started).toBe(1);
});

it("lets a caller leave without ending the work, and cancel end it", async () => {
  const run = new JoinableRun<void>(
    (_tell, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  );
  const leaving = new AbortController();
  const followed = collect(run.follow(leaving.signal));
  leaving.abort(new Error("gone"));
  await expect(followed).rejects.toThrow("gone");
  await run.cancel(new Error("enough"));
  await expect(run.result).rejects.toThrow("enough");
});

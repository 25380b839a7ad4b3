import { expect, test } from "vitest";
import { Handoff } from "./handoff.ts";

test("values come in their order, each put settled when the next one is asked for", async () => {
  const handoff = new Handoff<number>();
  const done: string[] = [];
  const putting = (async () => {
    for (const value of [1, 2, 3]) {
      await handoff.put(value);
      done.push(`used ${value}`);
    }
    handoff.end();
  })();
  for await (const value of handoff.taken()) {
    // Nobody may use its buffer again while it is looked at.
    await Promise.resolve();
    done.push(`seen ${value}`);
  }
  await putting;
  expect(done).toEqual(["seen 1", "used 1", "seen 2", "used 2", "seen 3", "used 3"]);
});

test("a taker that came first waits", async () => {
  const handoff = new Handoff<string>();
  const taken = handoff.taken();
  const first = taken.next();
  const putting = handoff.put("a");
  expect(await first).toEqual({ done: false, value: "a" });
  const end = taken.next();
  await putting;
  handoff.end();
  expect(await end).toEqual({ done: true, value: undefined });
});

test("a failure reaches the taker, and whoever puts", async () => {
  const failure = new Error("CRIU has gone");
  const waiting = new Handoff<string>();
  const next = waiting.taken().next();
  waiting.fail(failure);
  await expect(next).rejects.toBe(failure);
  await expect(waiting.put("late")).rejects.toBe(failure);

  const putFirst = new Handoff<string>();
  const putting = putFirst.put("never taken");
  putFirst.fail(failure);
  await expect(putting).rejects.toBe(failure);
  await expect(putFirst.taken().next()).rejects.toBe(failure);
});

test("a taker that leaves ends what is put", async () => {
  const handoff = new Handoff<string>();
  const taken = handoff.taken();
  const next = taken.next();
  const putting = handoff.put("a");
  await next;
  await taken.return();
  await expect(putting).rejects.toMatchObject({ reason: "CANCELLED" });
  await expect(handoff.put("b")).rejects.toMatchObject({ reason: "CANCELLED" });
});

test("a failure after the end is nobody's", async () => {
  const handoff = new Handoff<string>();
  handoff.end();
  handoff.fail(new Error("late"));
  expect(await handoff.taken().next()).toEqual({ done: true, value: undefined });
});

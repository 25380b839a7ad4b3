import { describe, expect, it } from "vitest";
import { lockOrRefuse, lockOrWait, tryLock } from "./lock.ts";

const name = (test: string) => `test/${process.pid}/${test}`;

describe("locks", () => {
  it("are held by one at a time", async () => {
    {
      await using _lock = await lockOrRefuse(name("one"), "busy");
      expect(await tryLock(name("one"))).toBeUndefined();
      await expect(lockOrRefuse(name("one"), "busy")).rejects.toThrow("busy");
    }
    await using again = await tryLock(name("one"));
    expect(again).toBeDefined();
  });

  it("have names of any length", async () => {
    const long = name("x".repeat(500));
    await using _lock = await lockOrRefuse(long, "busy");
    expect(await tryLock(long)).toBeUndefined();
    await using other = await tryLock(`${long}y`);
    expect(other).toBeDefined();
  });

  it("are waited for by several, who get them one after the other", async () => {
    const order: string[] = [];
    const take = async (who: string) => {
      await using _lock = await lockOrWait(name("several"));
      order.push(`${who} in`);
      await Promise.resolve();
      order.push(`${who} out`);
    };
    await Promise.all(["a", "b", "c"].map(take));
    expect(order).toHaveLength(6);
    for (const index of [0, 2, 4]) expect(order[index + 1]).toBe(order[index]?.replace("in", "out"));
  });

  it("are no longer waited for after an abort", async () => {
    await using _lock = await lockOrRefuse(name("abort"), "busy");
    const controller = new AbortController();
    const waiting = lockOrWait(name("abort"), controller.signal, () => controller.abort());
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  });
});

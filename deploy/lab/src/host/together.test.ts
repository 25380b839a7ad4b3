import { describe, expect, it } from "vitest";
import { together } from "./together.ts";

function untilAborted(signal: AbortSignal, onAbort: () => void): Promise<void> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => {
      onAbort();
      reject(signal.reason);
    });
  });
}

describe("together", () => {
  it("throws the first failure, after the others have ended", async () => {
    const ended: string[] = [];
    const running = together(undefined, [
      (signal) => untilAborted(signal, () => ended.push("a")),
      async () => {
        throw new Error("first");
      },
    ]);
    await expect(running).rejects.toThrow("first");
    expect(ended).toEqual(["a"]);
  });

  it("throws the caller's abort even when a task failed by it", async () => {
    const controller = new AbortController();
    const running = together(controller.signal, [(signal) => untilAborted(signal, () => {})]);
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
  });
});

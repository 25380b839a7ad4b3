import { getEventListeners } from "node:events";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { describe, expect, test } from "vitest";
import { HeldStart } from "./held-start.ts";

const logger = createLogger({ level: "silent", part: "agent", node: "n1" });
const never = new Promise<never>(() => undefined);

function begun() {
  const start = new HeldStart(logger);
  const docker = Promise.withResolvers<void>();
  start.begin(docker.promise);
  return { start, docker };
}

describe("HeldStart", () => {
  test("gives what the gate gives", async () => {
    const { start } = begun();
    expect(await start.whileHeld(Promise.resolve(7), new AbortController().signal)).toBe(7);
    await expect(start.whileHeld(Promise.reject(new Error("gate")), new AbortController().signal)).rejects.toThrow(
      "gate",
    );
  });

  test("does not outlast Docker's start, whichever way that ends", async () => {
    const signal = new AbortController().signal;
    const released = begun();
    const first = released.start.whileHeld(never, signal);
    released.docker.resolve();
    await expect(first).rejects.toThrow("the runtime did not hold the container");
    const refused = begun();
    const second = refused.start.whileHeld(never, signal);
    refused.docker.reject(new Error("no such container"));
    await expect(second).rejects.toThrow("no such container");
    await refused.start.ends();
    expect(refused.start.hasEnded).toBe(true);
  });

  test("ends with the signal, and leaves no listener on it either way", async () => {
    const { start } = begun();
    const controller = new AbortController();
    await start.whileHeld(Promise.resolve(), controller.signal);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    const waiting = start.whileHeld(never, controller.signal);
    controller.abort(new Error("called off"));
    await expect(waiting).rejects.toThrow("called off");
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    await expect(start.whileHeld(Promise.resolve(), controller.signal)).rejects.toThrow("called off");
  });

  test("a start that this process never called has no end to wait for, and fails nothing", async () => {
    const start = new HeldStart(logger);
    await start.ends();
    expect(start.hasEnded).toBe(false);
    expect(await start.whileHeld(Promise.resolve(7), new AbortController().signal)).toBe(7);
  });
});

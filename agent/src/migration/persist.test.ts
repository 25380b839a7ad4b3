import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { describe, expect, test } from "vitest";
import { persist } from "./persist.ts";

const logger = createLogger({ level: "silent", part: "agent", node: "n1" });

describe("persist", () => {
  test("tries until it works, pausing as the failure says", async () => {
    const failures = ["TIMEOUT", "OUTCOME_UNKNOWN"] as const;
    const asked: string[] = [];
    let attempts = 0;
    await persist(
      async () => {
        const reason = failures[attempts++];
        if (reason !== undefined) throw new DrayError(reason, "not yet");
      },
      { stopping: new AbortController().signal, logger, pauseMs: ({ reason }) => asked.push(reason) },
    );
    expect(attempts).toBe(3);
    expect(asked).toEqual(failures);
  });

  test("ends with the failure when the agent stops", async () => {
    const stopping = new AbortController();
    const failure = new DrayError("TIMEOUT", "not yet");
    const trying = persist(
      async () => {
        stopping.abort();
        throw failure;
      },
      { stopping: stopping.signal, logger },
    );
    await expect(trying).rejects.toBe(failure);
  });

  test("does not sit out its pause when the agent stops", async () => {
    const stopping = new AbortController();
    const trying = persist(
      async () => {
        throw new DrayError("TIMEOUT", "not yet");
      },
      {
        stopping: stopping.signal,
        logger,
        pauseMs: () => {
          queueMicrotask(() => stopping.abort(new Error("stopping")));
          return 60_000;
        },
      },
    );
    await expect(trying).rejects.toThrow("stopping");
  });
});

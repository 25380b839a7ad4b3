import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { describe, expect, test } from "vitest";
import type { Verdict } from "./ownership.ts";
import type { SourceContext } from "./source-context.ts";
import { SourceWatch } from "./source-watch.ts";

const logger = createLogger({ level: "silent", part: "agent", node: "n1" });

/** What the watch makes of a verdict; `later` is what etcd answers when it is asked again, call by call. */
async function endAfter(first: Verdict, later: readonly (Verdict | DrayError)[] = []): Promise<string> {
  const answers = [...later];
  const stopping = new AbortController().signal;
  const context = {
    host: {
      stopping,
      ownership: {
        awaitVerdict: async () => first,
        async verdictAsSource() {
          const answer = answers.shift();
          if (answer instanceof DrayError || answer === undefined) throw answer;
          return answer;
        },
      },
    },
    record: { question: {}, entry: { state: "sent" } },
    logger,
    persistence: { stopping, logger, pauseMs: () => 1 },
  } as unknown as SourceContext;
  const ended = Promise.withResolvers<string>();
  const ends = {
    finish: async () => ended.resolve("finish"),
    abort: async () => ended.resolve("abort"),
  };
  new SourceWatch(context, ends, new AbortController().signal).awaitVerdict();
  return ended.promise;
}

describe("the source's watch for a verdict", () => {
  test("finishes when the copy runs, goes back when the source owns", async () => {
    expect(await endAfter({ kind: "committed", epoch: 2, running: true })).toBe("finish");
    expect(await endAfter({ kind: "aborted", epoch: 2 })).toBe("abort");
  });

  test("asks for the record of a migration that others have followed, until etcd answers", async () => {
    const superseded = { kind: "superseded", epoch: 4 } as const;
    const unavailable = new DrayError("ETCD_UNAVAILABLE", "no answer");
    const completed = { kind: "committed", epoch: 2, running: true } as const;
    expect(await endAfter(superseded, [unavailable, completed])).toBe("finish");
    expect(await endAfter(superseded, [superseded])).toBe("abort");
  });
});

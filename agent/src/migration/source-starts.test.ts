import { createLogger } from "@drayage/shared/observe/logger.ts";
import { expect, test } from "vitest";
import type { DockerNotice, Filters } from "../docker/docker-port.ts";
import type { SourceState } from "../journal/entry.ts";
import type { SourceContext } from "./source-context.ts";
import { followStarts } from "./source-starts.ts";

const START: DockerNotice = {
  kind: "event",
  event: { Type: "container", Action: "start", Actor: { ID: "c1", Attributes: {} }, timeNano: 1 },
};

/** What is done about these, in order, and what Docker was asked for. */
async function done(state: SourceState, notices: readonly DockerNotice[]) {
  const asked: Filters[] = [];
  const docker = {
    async *events(filters: Filters) {
      asked.push(filters);
      yield* notices;
    },
  };
  const logger = createLogger({ level: "silent", part: "agent", node: "n1" });
  const record = { entry: { dockerId: "c1", state } };
  const context = { host: { docker }, record, logger } as unknown as SourceContext;
  const actions: string[] = [];
  await followStarts(
    context,
    { hasRunOn: () => void actions.push("ran on"), freeze: async () => void actions.push("freeze") },
    new AbortController().signal,
  );
  return { actions, asked };
}

test("what was set going is frozen again, and no more what it was; what was missed is frozen, too", async () => {
  const { actions, asked } = await done("sent", [{ kind: "resync" }, START]);
  expect(actions).toEqual(["freeze", "ran on", "freeze"]);
  expect(asked).toEqual([{ type: ["container"], event: ["start", "unpause"], container: ["c1"] }]);
});

test.each(["aborting", "finishing"] as const)(
  "in %s it is the migration that sets it going, or ends it",
  async (state) => {
    expect((await done(state, [{ kind: "resync" }, START])).actions).toEqual([]);
  },
);

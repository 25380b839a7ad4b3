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

interface Situation {
  readonly state: SourceState;
  /** Whether the freeze has begun. */
  readonly hasBegun: boolean;
}

/** What is done about these, in order, and what Docker was asked for. */
async function done({ state, hasBegun }: Situation, notices: readonly DockerNotice[]) {
  const asked: Filters[] = [];
  const docker = {
    async *events(filters: Filters) {
      asked.push(filters);
      yield* notices;
    },
  };
  const logger = createLogger({ level: "silent", part: "agent", node: "n1" });
  const record = { entry: { dockerId: "c1", state } };
  const context = { host: { docker }, record, standstill: { hasBegun }, logger } as unknown as SourceContext;
  const actions: string[] = [];
  await followStarts(
    context,
    { hasRunOn: async () => void actions.push("ran on"), freeze: async () => void actions.push("freeze") },
    new AbortController().signal,
  );
  return { actions, asked };
}

const RESYNC: DockerNotice = { kind: "resync" };

test("what was set going is no more what it was; what may have been missed is frozen", async () => {
  const { actions, asked } = await done({ state: "sent", hasBegun: true }, [RESYNC, START]);
  expect(actions).toEqual(["freeze", "ran on"]);
  expect(asked).toEqual([{ type: ["container"], event: ["start", "unpause"], container: ["c1"] }]);
});

test("a switch is spoilt from the freeze on, and not by what was before", async () => {
  expect((await done({ state: "switching", hasBegun: true }, [RESYNC, START])).actions).toEqual(["ran on"]);
  expect((await done({ state: "switching", hasBegun: false }, [RESYNC, START])).actions).toEqual([]);
});

test.each(["synced", "aborting", "finishing"] as const)(
  "in %s it is the migration that sets it going, or ends it",
  async (state) => {
    expect((await done({ state, hasBegun: true }, [RESYNC, START])).actions).toEqual([]);
  },
);

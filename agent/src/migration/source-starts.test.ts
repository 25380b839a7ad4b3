import { createLogger } from "@drayage/shared/observe/logger.ts";
import { expect, test } from "vitest";
import type { DockerNotice, Filters } from "../docker/docker-port.ts";
import type { SourceContext } from "./source-context.ts";
import { followStarts } from "./source-starts.ts";

const START: DockerNotice = {
  kind: "event",
  event: { Type: "container", Action: "start", Actor: { ID: "c1", Attributes: {} }, timeNano: 1 },
};

function contextOf(notices: readonly DockerNotice[], asked: Filters[] = []) {
  const docker = {
    async *events(filters: Filters) {
      asked.push(filters);
      yield* notices;
    },
  };
  const logger = createLogger({ level: "silent", part: "agent", node: "n1" });
  return { host: { docker }, record: { entry: { dockerId: "c1" } }, logger } as unknown as SourceContext;
}

test("it is frozen whenever it may have been set going, also when that was not seen", async () => {
  const asked: Filters[] = [];
  let frozen = 0;
  const freeze = async () => void frozen++;
  await followStarts(contextOf([{ kind: "resync" }, START, START], asked), freeze, new AbortController().signal);
  expect(frozen).toBe(3);
  expect(asked).toEqual([{ type: ["container"], event: ["start", "unpause"], container: ["c1"] }]);
});

test("what fails once is tried again with the next event", async () => {
  let attempts = 0;
  const freeze = async () => {
    attempts++;
    throw new Error("gone");
  };
  await followStarts(contextOf([START, START]), freeze, new AbortController().signal);
  expect(attempts).toBe(2);
});

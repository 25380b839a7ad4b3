import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createLogger } from "@drayage/shared/observe/logger.ts";
import { agentMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { expect, test } from "vitest";
import { type PhaseContext, runPhase } from "./run-phase.ts";

function phaseContext(stopping: AbortSignal): PhaseContext {
  return {
    migrationId: "0123456789ab",
    node: "n1",
    logger: createLogger({ level: "silent", part: "agent", node: "n1" }),
    metrics: agentMetrics(createRegistry("agent")),
    times: [],
    stopping,
  };
}

const cancelled = () => Promise.reject(new DrayError("CANCELLED", "the transfer was cancelled"));

test("what is called off since the agent stops says so", async () => {
  const stopped = new DrayError("AGENT_UNAVAILABLE", "the agent of n1 was stopped");
  const context = phaseContext(AbortSignal.abort(stopped));
  await expect(runPhase(context, "sync", cancelled)).rejects.toBe(stopped);
  expect(context.times.map(({ name }) => name)).toEqual(["sync"]);
});

test("what is called off otherwise keeps its reason, and so does another failure while the agent stops", async () => {
  await expect(runPhase(phaseContext(new AbortController().signal), "sync", cancelled)).rejects.toMatchObject({
    reason: "CANCELLED",
  });
  const damaged = new DrayError("CORRUPT_STREAM", "damaged");
  const stopping = AbortSignal.abort(new DrayError("AGENT_UNAVAILABLE", "stopped"));
  await expect(runPhase(phaseContext(stopping), "sync", () => Promise.reject(damaged))).rejects.toBe(damaged);
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { agentMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Journal } from "../journal/journal.ts";
import { Activation, type ActivationParts } from "./destination-activate.ts";
import { type DestinationContext, DestinationRecord } from "./destination-record.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "activate-"));
});
afterEach(() => rm(directory, { recursive: true }));

const NODE = "n2";

async function recordIn(state: "prepared" | "activating", placesLater = false): Promise<DestinationRecord> {
  const metrics = agentMetrics(createRegistry("agent"));
  return new DestinationRecord(
    { journal: await Journal.open(directory), metrics, node: NODE },
    {
      role: "destination",
      state,
      migrationId: "0123456789ab",
      uuid: "u",
      containerName: "redis",
      epoch: 1,
      peerNode: "n1",
      atMs: 1,
      error: "",
      dockerId: "d",
      restartPolicy: { Name: "no", MaximumRetryCount: 0 },
      macs: [],
      imageDirectory: "/i",
      descriptionJson: "{}",
      thawedAtMs: null,
      postCopy: null,
      placesLater,
    },
  );
}

test("a copy that died before it was thawed is given back once, however often its removal fails", async () => {
  const record = await recordIn("prepared");
  const done: string[] = [];
  let failures = 2;
  const parts: Pick<ActivationParts, "ending"> = {
    ending: {
      async abort(reason) {
        await record.transition("aborting", { error: reason });
        done.push("remove");
        if (failures-- > 0) throw new DrayError("TIMEOUT", "docker does not remove it");
        await record.transition("aborted");
      },
    },
  };
  const ownership = { giveBack: async () => void done.push(`give back in ${record.entry.state}`) };
  const context = { host: { node: NODE, ownership }, record } as unknown as DestinationContext;
  const activation = new Activation(context, parts as ActivationParts);
  await expect(activation.decline()).rejects.toMatchObject({ reason: "TIMEOUT" });
  await expect(activation.decline()).rejects.toMatchObject({ reason: "TIMEOUT" });
  await activation.decline();
  expect(done).toEqual(["give back in declining", "remove", "remove", "remove"]);
  expect(record.entry).toMatchObject({ state: "aborted", error: "the prepared copy died before it was thawed" });
});

test("a copy that may have been thawed and has lost its memory is neither given back nor thawed again", async () => {
  const record = await recordIn("activating", true);
  const done: string[] = [];
  const session = { state: { name: "committing" }, commit: async () => void done.push("thaw") };
  const host = { node: NODE, gate: { session: () => session } };
  const context = { host, record, phases: { times: [] } } as unknown as DestinationContext;
  const loss = new DrayError("CRIU_RESTORE_FAILED", "its fault server was killed");
  const parts = { fetch: { standing: "lost", loss }, ending: { abort: async () => void done.push("remove") } };
  const activation = new Activation(context, parts as unknown as ActivationParts);
  await expect(activation.activate()).rejects.toBe(loss);
  expect(done).toEqual([]);
  expect(record.entry.state).toBe("activating");
});

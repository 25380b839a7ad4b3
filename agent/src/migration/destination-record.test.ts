import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentMetrics, createRegistry } from "@drayage/shared/observe/metrics.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { DestinationEntry } from "../journal/entry.ts";
import { Journal } from "../journal/journal.ts";
import { DestinationRecord } from "./destination-record.ts";

const RESERVING: DestinationEntry = {
  role: "destination",
  state: "reserving",
  migrationId: "0123456789ab",
  uuid: "u",
  containerName: "redis",
  epoch: 1,
  peerNode: "n1",
  atMs: 1,
  error: "",
  dockerId: "",
  restartPolicy: { Name: "no", MaximumRetryCount: 0 },
  macs: [],
  imageDirectory: "/i",
  descriptionJson: "{}",
  thawedAtMs: null,
  postCopy: null,
  placesLater: false,
};

describe("DestinationRecord", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "record-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function reserving() {
    const journal = await Journal.open(directory);
    const metrics = agentMetrics(createRegistry("agent"));
    metrics.migrationsInProgress.inc({ role: "destination" });
    const record = new DestinationRecord({ journal, metrics, node: "n2" }, RESERVING);
    const underWay = async () => (await metrics.migrationsInProgress.get()).values[0]?.value;
    return { journal, record, underWay };
  }

  test("what was under way when the way back was taken does not undo it", async () => {
    const { journal, record, underWay } = await reserving();
    const back = record.transition("aborting", { error: "called off" });
    await expect(record.transition("reserved", { dockerId: "d" })).rejects.toMatchObject({ reason: "CANCELLED" });
    await back;
    expect(await journal.read(RESERVING.migrationId)).toEqual(record.entry);
    expect(record.entry).toMatchObject({ state: "aborting", error: "called off", dockerId: "" });
    expect(await underWay()).toBe(1);
  });

  test("keeps what is known from state to state, and ends once", async () => {
    const { journal, record, underWay } = await reserving();
    await record.transition("reserving", { dockerId: "d" });
    await record.transition("aborting");
    await record.transition("aborted");
    await expect(record.transition("aborted")).rejects.toMatchObject({ reason: "CANCELLED" });
    expect(await journal.read(RESERVING.migrationId)).toMatchObject({ state: "aborted", dockerId: "d" });
    expect(await underWay()).toBe(0);
  });
});

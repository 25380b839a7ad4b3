/** What a source that comes back late reads in a real etcd. */
import { openEtcd } from "@drayage/shared/etcd/etcd3-client.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { EtcdProcess } from "@drayage/shared/etcd/test-support/etcd-process.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { type MigrationOutcome, MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ownership, type Question } from "./ownership.ts";

const EPOCH = 7;
let etcd: EtcdProcess;
let port: EtcdPort;

beforeAll(async () => {
  etcd = await EtcdProcess.start();
  port = openEtcd({ endpoints: [etcd.endpoint], identity: etcd.identity });
}, 60_000);

afterAll(async () => {
  port?.close();
  await etcd?.stop();
});

function completedBy(question: Question, outcome: MigrationOutcome | null): MigrationRecord {
  return MigrationRecord.parse({
    id: question.migrationId,
    requestId: "r",
    containerUuid: question.uuid,
    container: "web",
    sourceDockerId: "d",
    source: question.source,
    destination: "n2",
    mode: "stop-copy",
    epoch: EPOCH,
    phase: outcome === null ? "finish" : "done",
    phaseStartedAtMs: null,
    outcome,
    reason: "",
    allowFlags: [],
    timeoutMs: 0,
    bandwidthBytesPerSecond: 0,
    maxDowntimeMs: 0,
    startedAtMs: 0,
    downtimeMs: null,
    frozenMs: null,
    totalMs: null,
    rounds: [],
    memoryBytes: 0,
    wireBytes: 0,
    phases: [],
    findings: [],
    error: null,
    cancelRequested: false,
  });
}

/** The container has moved from n1 to n2 by the migration in question, and on to n3 by another. */
async function movedOn(name: string, outcome: MigrationOutcome | null | "forgotten"): Promise<Question> {
  const question: Question = { uuid: `uuid-${name}`, migrationId: `migration-${name}`, epoch: EPOCH, source: "n1" };
  const owner: OwnerRecord = { uuid: question.uuid, node: "n3", epoch: EPOCH + 2, state: "running", migrationId: "x" };
  await port.put(keys.owner(question.uuid), JSON.stringify(owner));
  if (outcome !== "forgotten") {
    await port.put(keys.migration(question.migrationId), JSON.stringify(completedBy(question, outcome)));
  }
  return question;
}

test("a source that the container has left for good learns it from the migration's record", async () => {
  const question = await movedOn("completed", "completed");
  const ownership = new Ownership(port, "n1");
  const committed = { kind: "committed", epoch: EPOCH + 1, running: true };
  expect(await ownership.verdict(question)).toEqual({ kind: "superseded", epoch: EPOCH + 2 });
  expect(await ownership.verdictAsSource(question)).toEqual(committed);
  expect(await ownership.abortAsSource(question, AbortSignal.timeout(10_000))).toEqual(committed);
});

test.each(["rolled_back", "failed", "unknown", null, "forgotten"] as const)(
  "it stays frozen where nothing says that its copy ran: %s",
  async (outcome) => {
    const question = await movedOn(String(outcome), outcome);
    const ownership = new Ownership(port, "n1");
    const superseded = { kind: "superseded", epoch: EPOCH + 2 };
    expect(await ownership.verdictAsSource(question)).toEqual(superseded);
    expect(await ownership.abortAsSource(question, AbortSignal.timeout(10_000))).toEqual(superseded);
  },
);

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { RecordStore } from "./record-store.ts";
import type { RestoreRecord } from "./restore-record.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "records-"));
});
afterEach(() => rm(directory, { recursive: true }));

it("keeps records apart that are written at the same time", async () => {
  const store = new RecordStore(join(directory, "restore"), join(directory, "sessions"), "/bin/true");
  await store.prepareDirectories();
  const records = Array.from({ length: 20 }, (_, index): RestoreRecord => {
    const dockerId = index.toString(16).padStart(64, "0");
    return { dockerId, migrationId: dockerId.slice(-12), deadlineMs: index, state: { name: "armed" } };
  });
  await Promise.all(records.map((record) => store.writeRecord(record)));
  const problems: string[] = [];
  const read = await store.readRecords((name) => problems.push(name));
  expect(problems).toEqual([]);
  expect(read.sort((one, other) => one.deadlineMs - other.deadlineMs)).toEqual(records);
  await Promise.all(records.map(({ dockerId }) => store.remove(dockerId)));
  expect(await readdir(join(directory, "restore"))).toEqual([]);
});

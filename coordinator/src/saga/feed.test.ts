import { expect, test } from "vitest";
import { migrationRecord } from "../test-support/records.ts";
import { MigrationFeed, type MigrationState } from "./feed.ts";

async function read(states: AsyncIterable<MigrationState>): Promise<string[]> {
  const phases: string[] = [];
  for await (const { record } of states) phases.push(record.phase);
  return phases;
}

test("a follower sees the state now, changes, and the end", async () => {
  const feed = new MigrationFeed();
  const record = migrationRecord();
  feed.publish(record);
  const phases = read(feed.follow(record.id, new AbortController().signal));
  await Promise.resolve();
  feed.publish({ ...record, phase: "sync" });
  await new Promise((resolve) => setImmediate(resolve));
  feed.publish({ ...record, phase: "switch" });
  // A slow reader skips what is between.
  feed.publish({ ...record, phase: "activate" });
  await new Promise((resolve) => setImmediate(resolve));
  feed.forget(record.id);
  expect(await phases).toEqual(["reserve", "sync", "activate"]);
});

test("a follower leaves with its signal, and one of an unknown migration at once", async () => {
  const feed = new MigrationFeed();
  const record = migrationRecord();
  feed.publish(record);
  const leave = new AbortController();
  const phases = read(feed.follow(record.id, leave.signal));
  setImmediate(() => leave.abort());
  expect(await phases).toEqual(["reserve"]);
  expect(await read(feed.follow("unknown", new AbortController().signal))).toEqual([]);
});

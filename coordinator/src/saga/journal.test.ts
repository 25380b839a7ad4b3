import { expect, test } from "vitest";
import { migrationRecord } from "../test-support/records.ts";
import { MigrationFeed } from "./feed.ts";
import { Journal } from "./journal.ts";

test("progress ends with its phase, and with nothing else", () => {
  const feed = new MigrationFeed();
  const record = migrationRecord();
  // What is only noted needs neither etcd nor leadership.
  const journal = new Journal(undefined as never, undefined as never, feed, record);
  journal.note({ phase: "sync" });
  journal.progress({ step: "layer", doneBytes: 1, totalBytes: 2, message: "", round: undefined, decision: "" });
  journal.note({ wireBytes: 5 });
  expect(feed.get(record.id)?.progress?.step).toBe("layer");
  journal.note({ phase: "abort" });
  expect(feed.get(record.id)).toMatchObject({ record: { phase: "abort", wireBytes: 5 }, progress: undefined });
});

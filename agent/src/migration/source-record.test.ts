import { expect, test } from "vitest";
import type { JournalEntry, SourceEntry } from "../journal/entry.ts";
import type { AgentHost } from "./agent-host.ts";
import { SourceRecord } from "./source-record.ts";

test("of two transitions at a time the second is judged by what the first has made of it", async () => {
  const written: string[] = [];
  const disk = Promise.withResolvers<void>();
  const journal = {
    async write({ state }: JournalEntry) {
      await disk.promise;
      written.push(state);
    },
  };
  const metrics = { migrationsInProgress: { dec: () => undefined } };
  const entry = { role: "source", state: "sent", migrationId: "m" } as SourceEntry;
  const record = new SourceRecord({ node: "n1", journal, metrics } as unknown as AgentHost, entry);
  const back = record.transition("aborting");
  const again = record.transition("sent", { ranOn: true });
  const refused = expect(again).rejects.toMatchObject({ reason: "CANCELLED" });
  disk.resolve();
  await back;
  await refused;
  // One that was refused does not stand in the way of the next.
  await record.transition("aborted");
  expect(written).toEqual(["aborting", "aborted"]);
  expect(record.entry).toMatchObject({ state: "aborted" });
});

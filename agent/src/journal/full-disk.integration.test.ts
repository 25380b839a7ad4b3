/** The journal on a file system that is full. */
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";
import type { SourceEntry } from "./entry.ts";
import { Journal } from "./journal.ts";

const DEADLINE = { deadlineMs: 10_000 };
const MIGRATION = "0123456789ab";
const LATER = "ba9876543210";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-journal-"));
  await runCommand(["mount", "-t", "tmpfs", "-o", "size=2m", "journal", directory], DEADLINE);
});
afterEach(async () => {
  await runCommand(["umount", directory], DEADLINE);
  await rm(directory, { recursive: true });
});

function entry(migrationId: string, state: SourceEntry["state"]): SourceEntry {
  const error = "e".repeat(5000);
  const common = { uuid: "u", containerName: "redis", epoch: 1, peerNode: "n2", atMs: 1, error };
  return {
    ...common,
    role: "source",
    migrationId,
    state,
    dockerId: "d",
    frozen: null,
    frozenMs: 0,
    postCopy: null,
    ranOn: false,
  };
}

async function fill(): Promise<void> {
  const file = await open(join(directory, "full"), "w");
  try {
    for (;;) await file.write(Buffer.alloc(4096, 1));
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOSPC" });
  } finally {
    await file.close();
  }
}

test("what is under way is written down on a full disk; a new migration is refused before it begins", async () => {
  const journal = await Journal.open(directory);
  await journal.write(entry(MIGRATION, "syncing"));
  await fill();
  for (const state of ["synced", "switching", "sent", "aborting", "aborted"] as const) {
    await journal.write(entry(MIGRATION, state));
    // Whoever starts after a crash finds it.
    expect((await (await Journal.open(directory)).read(MIGRATION))?.state).toBe(state);
  }
  await expect(journal.write(entry(LATER, "syncing"))).rejects.toMatchObject({
    reason: "NO_SPACE",
    remedy: expect.stringContaining("Make room"),
  });
  expect(await journal.read(LATER)).toBeNull();
  await rm(join(directory, "full"));
  await journal.write(entry(LATER, "syncing"));
  expect((await journal.readAll()).map(({ migrationId }) => migrationId)).toEqual([MIGRATION, LATER]);
});

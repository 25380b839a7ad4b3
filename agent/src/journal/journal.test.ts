import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SourceEntry } from "./entry.ts";
import { formatLine, Journal, parseJournal } from "./journal.ts";

const ID = "0123456789ab";

function entry(state: SourceEntry["state"], error = ""): SourceEntry {
  return {
    role: "source",
    migrationId: ID,
    uuid: "u",
    containerName: "redis",
    epoch: 1,
    peerNode: "n2",
    atMs: 1,
    error,
    state,
    dockerId: "d",
    frozen: null,
    frozenMs: 0,
    postCopy: null,
    ranOn: false,
  };
}

describe("journal text", () => {
  it("gives the last whole entry, wherever a crash tore the text", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 5 }), fc.nat(), (errors, cut) => {
        const entries = errors.map((error) => entry("syncing", error));
        const lines = entries.map(formatLine);
        const whole = lines.slice(0, -1).join("");
        const last = lines.at(-1) ?? "";
        const torn = Buffer.from(last)
          .subarray(0, cut % Buffer.byteLength(last))
          .toString("utf8");
        expect(parseJournal(whole + torn, "j")).toEqual(entries.at(-2) ?? null);
        expect(parseJournal(whole + last, "j")).toEqual(entries.at(-1));
      }),
    );
  });

  it("refuses a damaged line that is not the last", () => {
    const damaged = formatLine(entry("syncing")).replace("redis", "rebis");
    expect(() => parseJournal(damaged + formatLine(entry("synced")), "j")).toThrow(/line 1 of j is damaged/);
  });
});

describe("Journal", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "journal-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("reads back what was written, across instances", async () => {
    const journal = await Journal.open(directory);
    await Promise.all([journal.write(entry("syncing")), journal.write(entry("synced"))]);
    const again = await Journal.open(directory);
    expect((await again.read(ID))?.state).toBe("synced");
    expect(await again.readAll()).toHaveLength(1);
    expect(await again.read("ffffffffffff")).toBeNull();
  });

  it("goes on after a torn write", async () => {
    const journal = await Journal.open(directory);
    await journal.write(entry("syncing"));
    await appendFile(join(directory, `${ID}.journal`), '{"crc":1,"ent');
    const next = await Journal.open(directory);
    await next.write(entry("switching"));
    expect((await next.read(ID))?.state).toBe("switching");
    expect(await readFile(join(directory, `${ID}.journal`), "utf8")).not.toContain('"ent{');
  });

  it("keeps ids from leaving the directory", async () => {
    const journal = await Journal.open(directory);
    await expect(journal.read("../../etc/pas")).rejects.toThrow(/not a migration id/);
    await writeFile(join(directory, "other"), "x");
    expect(await journal.readAll()).toEqual([]);
  });
});

/** Digests of pages on a file system that is full. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { REGION_BYTES } from "./digest-table.ts";
import { SpillFile } from "./spill-file.ts";
import { tableInFile } from "./testing/digest-tables.ts";

const DEADLINE = { deadlineMs: 10_000 };
const TASK = { kind: "task", id: 1 } as const;
/** Of which digests take four times the room that there is. */
const REGIONS = 256;
const PAGES_OF_EACH = 4;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-digests-"));
  await runCommand(["mount", "-t", "tmpfs", "-o", "size=1m", "digests", directory], DEADLINE);
});
afterEach(async () => {
  await runCommand(["umount", directory], DEADLINE);
  await rm(directory, { recursive: true });
});

test("rounds go on in memory when the disk is full, which is told once, and the room is given back", async () => {
  const failures: string[] = [];
  const table = tableInFile(new SpillFile(directory, ({ reason }) => failures.push(reason)));
  const content = randomBytes((REGIONS + PAGES_OF_EACH) * PAGE_BYTES);
  const verdicts = Buffer.alloc(PAGES_OF_EACH);
  /** How many pages of each region are to be sent. */
  const round = (number: number) =>
    Array.from({ length: REGIONS }, (_, region) => {
      const at = region * PAGE_BYTES;
      return table.compare(TASK, number, region * REGION_BYTES, content, at, PAGES_OF_EACH, verdicts);
    });
  expect(round(0)).toEqual(new Array(REGIONS).fill(PAGES_OF_EACH));
  expect(failures).toEqual(["NO_SPACE"]);
  expect(round(1)).toEqual(new Array(REGIONS).fill(0));
  randomBytes(PAGE_BYTES).copy(content, 100 * PAGE_BYTES);
  expect(round(2)).toEqual(Array.from({ length: REGIONS }, (_, region) => (region > 96 && region <= 100 ? 1 : 0)));
  expect(failures).toEqual(["NO_SPACE"]);
  expect(await readdir(directory)).toEqual([]);
  expect((await statfs(directory)).bfree).toBe(0);
  table.close();
  const { bfree, blocks } = await statfs(directory);
  expect(bfree).toBe(blocks);
});

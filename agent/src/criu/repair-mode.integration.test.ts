import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";

const CONNECTIONS = 1000;
/** Those beside the many: one without a listener that reuses its address, one of IPv6, one that a thread alone has. */
const MORE = 3;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "repair-mode-"));
  const build = join(import.meta.dirname, "../../runc/build");
  await runCommand([build, join(directory, "drayage-runc")], { deadlineMs: 60_000 });
});
afterAll(() => rm(directory, { recursive: true }));

test("sockets that were left in repair mode work again and have their listener's SO_REUSEADDR", async () => {
  const script = join(import.meta.dirname, "testing/sockets-in-repair.py");
  const program = join(directory, "drayage-end-repair");
  const { stdout } = await runCommand(["python3", script, program, `${CONNECTIONS}`], { deadlineMs: 60_000 });
  expect(JSON.parse(stdout)).toMatchObject({
    before: { refused: true },
    first: { status: 0, ended: CONNECTIONS + MORE, said: "" },
    again: { status: 0, ended: 0, said: "" },
    works: true,
    reuse: [1, 0, 1],
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";

/** About three seconds of silence, which the client alone doubles. */
const ATTEMPTS = 4;

test("a client that sent into the silence is answered soon after it, not after as long again", async () => {
  const directory = await mkdtemp(join(tmpdir(), "announce-"));
  try {
    await runCommand([join(import.meta.dirname, "../../runc/build"), join(directory, "drayage-runc")], {
      deadlineMs: 60_000,
    });
    const script = join(import.meta.dirname, "testing/silent-server.py");
    const { stdout } = await runCommand(["python3", script, join(directory, "drayage-announce"), `${ATTEMPTS}`], {
      deadlineMs: 60_000,
    });
    const { alone, woken } = JSON.parse(stdout) as { alone: number; woken: number };
    expect(woken).toBeLessThan(alone / 2);
  } finally {
    await rm(directory, { recursive: true });
  }
});

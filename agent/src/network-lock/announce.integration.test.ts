import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";

/** Just after one of the client's attempts: alone it waits about as long again. */
const SILENCE_S = 3.5;

test("a client that sent into the silence is answered soon after it, not after as long again", async () => {
  const directory = await mkdtemp(join(tmpdir(), "announce-"));
  try {
    await runCommand([join(import.meta.dirname, "../../runc/build"), join(directory, "drayage-runc")], {
      deadlineMs: 60_000,
    });
    const script = join(import.meta.dirname, "testing/silent-server.py");
    const { stdout } = await runCommand(["python3", script, join(directory, "drayage-announce"), `${SILENCE_S}`], {
      deadlineMs: 60_000,
    });
    const { alone, woken } = JSON.parse(stdout) as { alone: number; woken: number };
    expect(woken).toBeGreaterThanOrEqual(SILENCE_S);
    expect(woken - SILENCE_S).toBeLessThan((alone - SILENCE_S) / 2);
  } finally {
    await rm(directory, { recursive: true });
  }
});

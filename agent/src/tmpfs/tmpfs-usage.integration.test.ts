/** A tmpfs of the real kernel, which this process does not see mounted. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mountsOf } from "../host/mountinfo.ts";
import { ownTmpfs, usedBytes } from "./tmpfs-usage.ts";

const PAGE_BYTES = 4096;
const CONTAINER = `
mount -t tmpfs of-the-container "$1"
head -c ${10 * PAGE_BYTES - 1} /dev/zero >"$1/file"
echo ready
read word
`;

test("what lies in a tmpfs of another mount namespace", async () => {
  const inside = await mkdtemp(join(tmpdir(), "tmpfs-usage-"));
  const argv = ["--mount", "--propagation", "private", "sh", "-ec", CONTAINER, "sh", inside];
  const container = spawn("unshare", argv, { stdio: ["pipe", "pipe", "inherit"] });
  try {
    await once(container.stdout, "data");
    const pid = container.pid ?? expect.fail();
    const own = [...ownTmpfs(await mountsOf(pid), await mountsOf("self")).values()];
    expect(own.map(({ mountPoint }) => mountPoint)).toEqual([inside]);
    expect(await usedBytes(pid, own)).toBe(10 * PAGE_BYTES);
    expect(await usedBytes(pid, [...own, ...own.map((mount) => ({ ...mount, mountPoint: "/not/there" }))])).toBe(
      10 * PAGE_BYTES,
    );
  } finally {
    container.stdin.end();
    await once(container, "close");
    await rm(inside, { recursive: true });
  }
});

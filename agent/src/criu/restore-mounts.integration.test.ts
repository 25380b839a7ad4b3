/** Real mounts of the kind that a killed restore leaves. */
import { mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { mountsOf } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { removeRestoreMounts } from "./restore-mounts.ts";

const DEADLINE = { deadlineMs: 10_000 };
let directory: string;
let yard: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-mounts-"));
  yard = await mkdtemp("/tmp/.criu.mntns.");
});

afterEach(async () => {
  for (const { mountPoint } of (await mountsOf("self")).reverse()) {
    if (mountPoint === yard || mountPoint.startsWith(`${directory}/`)) {
      await runCommand(["umount", "--lazy", mountPoint], DEADLINE);
    }
  }
  await rm(directory, { recursive: true, force: true });
  await rm(yard, { recursive: true, force: true });
});

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

it("removes runc's mount also where a symbolic link leads to its state", async () => {
  const state = join(directory, "state");
  await mkdir(join(state, "criu-root"), { recursive: true });
  await symlink(state, join(directory, "link"));
  await runCommand(["mount", "-t", "tmpfs", "none", join(state, "criu-root")], DEADLINE);

  await removeRestoreMounts("", join(directory, "link"));

  expect(await exists(join(state, "criu-root"))).toBe(false);
  const left = (await mountsOf("self")).map(({ mountPoint }) => mountPoint);
  expect(left.filter((point) => point.startsWith(directory))).toEqual([]);
});

it("has nothing to do where nothing is left", async () => {
  await removeRestoreMounts("", directory);
});

it("removes runc's mount even if the log names more than one yard", async () => {
  await mkdir(join(directory, "criu-root"));
  const line = (path: string) => `(00.012901) mnt: \t\tWill mount 733 @ ${path}/mnt-0000000733 /\n`;
  const removal = removeRestoreMounts(line(yard) + line("/tmp/.criu.mntns.aaaaaa"), directory);
  await expect(removal).rejects.toMatchObject({ reason: "CRIU_RESTORE_FAILED" });
  expect(await exists(join(directory, "criu-root"))).toBe(false);
  expect(await exists(yard)).toBe(true);
});

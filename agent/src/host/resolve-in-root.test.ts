import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { resolveInRoot } from "./resolve-in-root.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "drayage-root-"));
  await mkdir(join(root, "usr/sbin"), { recursive: true });
  await mkdir(join(root, "run"));
  await mkdir(join(root, "var"));
  await writeFile(join(root, "usr/sbin/docker-init"), "");
  await symlink("usr/sbin", join(root, "sbin"));
  await symlink("/run", join(root, "var/run"));
  await symlink("../../../..", join(root, "usr/up"));
  await symlink("loop", join(root, "loop"));
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

it.each([
  ["/", "/"],
  ["/sbin/docker-init", "/usr/sbin/docker-init"],
  ["/var/run/app", "/run/app"],
  ["/var/run/", "/run"],
  ["/usr/up/etc", "/etc"],
  ["/var/./../run", "/run"],
  ["/not/there", "/not/there"],
  ["/usr/sbin/docker-init/x", "/usr/sbin/docker-init/x"],
  ["/loop/x", "/loop/x"],
])("%s leads to %s", async (path, target) => {
  expect(await resolveInRoot(root, path)).toBe(target);
});

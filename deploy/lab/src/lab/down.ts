/** Takes everything of a lab away, whatever state it is in. */
import { readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { bridgeName, labId, machineName } from "../address/plan.ts";
import { hasCode } from "../errors.ts";
import { unmountBelow } from "../host/mounts.ts";
import { interfaceExists, removeInterface, setPortForwarding } from "../network/bridge.ts";
import { killCgroup, labCgroup, removeCgroup, shadowCgroup } from "../node/cgroup.ts";
import type { Progress } from "../progress.ts";
import { exists, removeTree } from "../rootfs/cache.ts";
import { lockLab } from "./lab.ts";
import { type LabLayout, labLayout, labsDirectory } from "./layout.ts";

export async function down(name: string, progress: Progress): Promise<void> {
  const layout = labLayout(name);
  await using _lock = await lockLab(layout);
  if (!(await isAnythingLeft(layout))) {
    progress.step(`lab "${name}" is not there; nothing to do`);
    return;
  }
  await tearDown(layout);
  progress.step(`lab "${name}" is down; the cache of root file systems and images stays`);
}

/**
 * Works without the state file: names of cgroup, bridge and ports follow from
 * the lab's directory. The caller holds the lab's lock.
 */
export async function tearDown(layout: LabLayout): Promise<void> {
  const id = labId(layout.directory);
  const cgroup = await labCgroup(id);
  for (const port of await ports(id)) await setPortForwarding(port, false);
  await killCgroup(cgroup);
  await removeCgroup(cgroup);
  await removeCgroup(shadowCgroup(id));
  for (const port of await ports(id)) await removeInterface(port);
  await removeInterface(bridgeName(id));
  await unmountBelow(layout.directory);
  await removeTree(layout.directory);
  await removeIfEmpty(labsDirectory());
}

/** Whether a process, a cgroup, an interface or a file of the lab is there. */
export async function isAnythingLeft(layout: LabLayout): Promise<boolean> {
  const id = labId(layout.directory);
  return (
    (await exists(layout.directory)) || (await exists(await labCgroup(id))) || (await interfaceExists(bridgeName(id)))
  );
}

async function ports(id: string): Promise<string[]> {
  try {
    const names = await readdir(join("/sys/class/net", bridgeName(id), "brif"));
    return names.filter((name) => name.startsWith(`vb-${machineName(id, "")}`));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    if (!hasCode(error, "ENOENT", "ENOTEMPTY")) throw error;
  }
}

/** Each node lives in a cgroup (v2) of its own: how it is contained, found and killed. */
import { watch } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, LabError } from "../errors.ts";
import { exists } from "../rootfs/cache.ts";

const KILL_DEADLINE_MS = 20_000;

/** Where the host has its cgroup v2 tree: alone, or beside v1. */
export async function unifiedRoot(): Promise<string | undefined> {
  for (const root of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]) {
    if (await exists(join(root, "cgroup.controllers"))) return root;
  }
  return undefined;
}

export async function labCgroup(id: string): Promise<string> {
  const root = await unifiedRoot();
  if (root === undefined) {
    throw new LabError("precondition", "the host has no cgroup v2 tree", {
      remedy: "mkdir /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
    });
  }
  return join(root, `drayage-lab-${id}`);
}

/** What systemd-nspawn makes of the same name where the host's systemd has a v1 hierarchy beside v2. Nothing lives in it alone. */
export function shadowCgroup(id: string): string {
  return `/sys/fs/cgroup/systemd/drayage-lab-${id}`;
}

/** Makes the cgroups of the lab and of a node in it, and hands down every controller the host lends. */
export async function createNodeCgroup(lab: string, node: string): Promise<string> {
  const path = join(lab, node);
  await mkdir(path, { recursive: true });
  const controllers = (await readFile(join(lab, "cgroup.controllers"), "utf8")).split(/\s+/).filter(Boolean);
  for (const controller of controllers) {
    try {
      await writeFile(join(lab, "cgroup.subtree_control"), `+${controller}`);
    } catch (error) {
      // Some controllers refuse, for instance real-time scheduling; a node does without.
      if (!hasCode(error, "EBUSY", "EINVAL", "EOPNOTSUPP", "ENOENT")) throw error;
    }
  }
  return path;
}

/** All processes in the cgroup and below; none when it does not exist. */
export async function processesIn(cgroup: string): Promise<number[]> {
  const pids: number[] = [];
  for (const directory of await tree(cgroup)) {
    try {
      const text = await readFile(join(directory, "cgroup.procs"), "utf8");
      pids.push(...text.split("\n").filter(Boolean).map(Number));
    } catch (error) {
      // Gone in between, or a threaded cgroup, whose processes its parent lists.
      if (!hasCode(error, "ENOENT", "ENODEV", "EOPNOTSUPP")) throw error;
    }
  }
  return pids;
}

/** The cgroup and those below it, children after parents. */
async function tree(cgroup: string): Promise<string[]> {
  try {
    const entries = await readdir(cgroup, { withFileTypes: true });
    const below = await Promise.all(
      entries.filter((entry) => entry.isDirectory()).map((entry) => tree(join(cgroup, entry.name))),
    );
    return [cgroup, ...below.flat()];
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENODEV")) return [];
    throw error;
  }
}

async function isPopulated(cgroup: string): Promise<boolean> {
  try {
    return /^populated 1$/m.test(await readFile(join(cgroup, "cgroup.events"), "utf8"));
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENODEV")) return false;
    throw error;
  }
}

/** SIGKILL to everything in the cgroup and below, frozen or not; returns when nothing of it lives. */
export async function killCgroup(cgroup: string): Promise<void> {
  if (!(await isPopulated(cgroup))) return;
  let changed = Promise.withResolvers<void>();
  const watcher = watch(join(cgroup, "cgroup.events"), () => changed.resolve());
  const timer = setTimeout(() => changed.reject(new LabError("timeout", "timeout")), KILL_DEADLINE_MS);
  try {
    await killAll(cgroup);
    while (await isPopulated(cgroup)) {
      await changed.promise;
      changed = Promise.withResolvers<void>();
    }
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    const left = await processesIn(cgroup);
    throw new LabError("timeout", `processes survive SIGKILL: ${left.join(", ")}`, {
      remedy: "look for state D in `ps -o pid,stat,wchan,args`",
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

async function killAll(cgroup: string): Promise<void> {
  try {
    await writeFile(join(cgroup, "cgroup.kill"), "1");
  } catch (error) {
    // Kernels before 5.14 have no cgroup.kill. The death of each node's init takes the rest along.
    if (!hasCode(error, "ENOENT", "EACCES", "EPERM")) throw error;
    for (const pid of await processesIn(cgroup)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (gone) {
        if (!hasCode(gone, "ESRCH")) throw gone;
      }
    }
  }
}

/** Removes an empty cgroup with all below it. */
export async function removeCgroup(cgroup: string): Promise<void> {
  for (const directory of (await tree(cgroup)).reverse()) {
    try {
      await rmdir(directory);
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENODEV")) throw error;
    }
  }
}

/** What runc keeps of a container. */
import { readFile } from "node:fs/promises";

/** Where Docker's containers are, whatever the runtime's name. */
export const DOCKER_RUNC_ROOT = "/run/docker/runtime-runc/moby";

export interface RuncContainer {
  /** Pid of its init on the host. */
  readonly initPid: number;
  /** Absolute directory of its cgroup; of the freezer's on cgroup v1. */
  readonly cgroup: string;
  /** What runc writes into `descriptors.json` of a checkpoint: where the first descriptors of init led at its start. */
  readonly descriptors: readonly string[] | null;
}

/** From runc's state file; null if runc has no such container. */
export async function runcContainer(runcRoot: string, dockerId: string): Promise<RuncContainer | null> {
  try {
    return parseRuncState(await readFile(`${runcRoot}/${dockerId}/state.json`, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Pure. cgroup v2 has its path under "", v1 the freezer's under its name. Null if init has no pid yet. */
export function parseRuncState(text: string): RuncContainer | null {
  const state = JSON.parse(text) as {
    init_process_pid?: unknown;
    cgroup_paths?: Record<string, unknown>;
    external_descriptors?: readonly string[] | null;
  };
  const cgroup = state.cgroup_paths?.[""] ?? state.cgroup_paths?.["freezer"];
  if (typeof state.init_process_pid !== "number" || state.init_process_pid <= 1) return null;
  if (typeof cgroup !== "string") return null;
  return { initPid: state.init_process_pid, cgroup, descriptors: state.external_descriptors ?? null };
}

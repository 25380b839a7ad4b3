/** Is the restored copy what it must be before anyone may decide over it? Read from the kernel, not believed. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { cgroupPids, isFrozen } from "../host/cgroup.ts";
import { unlessGone } from "../host/unless-gone.ts";
import type { RuncContainer } from "../host/runc-state.ts";
import { claimantLives } from "./claim.ts";
import type { SessionState } from "./session-state.ts";

export interface ProcessFacts {
  readonly pid: number;
  readonly parentPid: number;
  readonly pidNamespace: string;
}

/** A task that another process traces. */
export interface TracedTask {
  readonly task: number;
  readonly tracer: number;
}

export interface CopyFacts {
  readonly initPid: number;
  readonly frozen: boolean;
  /** Pids in the container's cgroup. */
  readonly inside: readonly number[];
  /** Of all tasks of those, those that are traced. */
  readonly traced: readonly TracedTask[];
  readonly processes: readonly ProcessFacts[];
  /** The agent's own. */
  readonly hostPidNamespace: string;
}

/** Throws DrayError CRIU_RESTORE_FAILED unless it is frozen, whole, alone, let go of, and inside its cgroup. Gives its tasks. */
export async function verifyCopy(container: RuncContainer): Promise<number> {
  const [frozen, inside, processes, hostPidNamespace] = await Promise.all([
    isFrozen(container.cgroup),
    cgroupPids(container.cgroup),
    listProcesses(),
    readlink("/proc/self/ns/pid"),
  ]);
  const traced = (await Promise.all(inside.map(tracedTasks))).flat();
  const fault = faultOfCopy({ initPid: container.initPid, frozen, inside, traced, processes, hostPidNamespace });
  if (fault !== null) {
    throw new DrayError("CRIU_RESTORE_FAILED", `the restored copy is not as it must be: ${fault}`, {
      remedy: "It was killed. See restore.log and the file actions on that node.",
    });
  }
  return inside.length;
}

/** Whether a copy is there that can be committed, and Docker's start of it too; true from committing on. */
export async function copyStands(state: SessionState): Promise<boolean> {
  switch (state.name) {
    case "armed":
    case "released":
    case "failed":
      return false;
    case "prepared": {
      const { cgroup, initPid, startClaim } = state.copy;
      return (await claimantLives(startClaim)) && (await cgroupPids(cgroup)).includes(initPid);
    }
    case "committing":
    case "committed":
      return true;
  }
}

/** What is wrong with the copy; null if nothing. Pure. */
export function faultOfCopy(facts: CopyFacts): string | null {
  const inside = new Set(facts.inside);
  if (!inside.has(facts.initPid)) return `its init (${facts.initPid}) is not in the container's cgroup`;
  if (!facts.frozen) return "it is not frozen";
  // CRIU has not come to its end: its traps and its blob may still be in the task, which would not run as itself.
  const [held] = facts.traced;
  if (held !== undefined) return `process ${held.tracer} still traces its task ${held.task}`;
  const byPid = new Map(facts.processes.map((process) => [process.pid, process]));
  const namespace = byPid.get(facts.initPid)?.pidNamespace;
  if (namespace === undefined) return "its init is gone";
  for (const { pid, pidNamespace } of facts.processes) {
    if (inside.has(pid)) {
      if (pidNamespace === facts.hostPidNamespace) return `process ${pid} of the host is in the container's cgroup`;
    } else if (pidNamespace === namespace || descendsFrom(pid, facts.initPid, byPid)) {
      return `process ${pid} of the container is outside its cgroup`;
    }
  }
  return null;
}

function descendsFrom(pid: number, ancestor: number, byPid: ReadonlyMap<number, ProcessFacts>): boolean {
  for (let at = byPid.get(pid)?.parentPid; at !== undefined && at > 0; at = byPid.get(at)?.parentPid) {
    if (at === ancestor) return true;
  }
  return false;
}

/** Places in /proc/PID/stat behind the name; proc_pid_stat(5). */
const STATE = 0;
const PARENT = 1;
const THREADS = 17;

export async function listProcesses(): Promise<ProcessFacts[]> {
  const pids = (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name));
  const facts = await Promise.all(pids.map(processFacts));
  return facts.filter((fact) => fact !== null);
}

/**
 * Null for one that has ended: a zombie runs nothing, and the cgroup does not name it. It still has its pid namespace,
 * and its cgroup does name one of whose process another thread lives.
 */
async function processFacts(pid: string): Promise<ProcessFacts | null> {
  try {
    const [pidNamespace, stat] = await Promise.all([
      readlink(`/proc/${pid}/ns/pid`),
      readFile(`/proc/${pid}/stat`, "utf8"),
    ]);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const hasEnded = fields[STATE] === "Z" && Number(fields[THREADS]) <= 1;
    return hasEnded ? null : { pid: Number(pid), parentPid: Number(fields[PARENT]), pidNamespace };
  } catch {
    return null;
  }
}

/** By any process; none for one that has ended meanwhile. */
export async function tracedTasks(pid: number): Promise<TracedTask[]> {
  const tasks = (await unlessGone(readdir(`/proc/${pid}/task`))) ?? [];
  const traced = await Promise.all(
    tasks.map(async (task) => {
      const status = (await unlessGone(readFile(`/proc/${pid}/task/${task}/status`, "utf8"))) ?? "";
      return { task: Number(task), tracer: Number(/^TracerPid:\t(\d+)$/m.exec(status)?.[1] ?? 0) };
    }),
  );
  return traced.filter(({ tracer }) => tracer !== 0);
}

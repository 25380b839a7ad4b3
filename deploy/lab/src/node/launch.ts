/** Processes of the host that belong to a node: they live in its cgroup, where a power cut finds them. */
import { type ChildProcess, spawn } from "node:child_process";
import { waitFor } from "../host/wait.ts";
import { processesIn } from "./cgroup.ts";

const ENTER_DEADLINE_MS = 30_000;

/** The argv that enters a cgroup and then becomes the given command. */
export function inCgroup(cgroup: string, argv: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup, ...argv];
}

/** Starts a process that outlives this one; returns when it is in its cgroup, where a kill finds it. */
export async function launch(
  cgroup: string,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  outputFd: number,
): Promise<ChildProcess> {
  const [file = "", ...args] = inCgroup(cgroup, argv);
  const child = spawn(file, args, { env, detached: true, stdio: ["ignore", outputFd, outputFd] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  await waitFor(async () => ((await processesIn(cgroup)).length > 0 || hasEnded(child) ? true : undefined), {
    what: `${file} enters ${cgroup}`,
    deadlineMs: ENTER_DEADLINE_MS,
    everyMs: 5,
  });
  return child;
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

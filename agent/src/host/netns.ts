/** Commands in a container's network namespace; files, programs and users stay the host's. */
import { readlink } from "node:fs/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { type CommandOptions, type CommandResult, runCommand } from "./run-command.ts";

export function inNetworkNamespace(pid: number, argv: readonly string[]): string[] {
  return ["nsenter", `--target=${pid}`, "--net", "--", ...argv];
}

/** As runCommand. Throws BAD_REQUEST if the process shares the host's namespace: nothing of ours belongs there. */
export async function runInNetworkNamespace(
  pid: number,
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  await requireOwnNamespace(pid);
  return runCommand(inNetworkNamespace(pid, argv), options);
}

/** Throws BAD_REQUEST if the process shares the host's namespace, NOT_FOUND if it is gone. */
export async function requireOwnNamespace(pid: number): Promise<void> {
  const [theirs, host] = await Promise.all([namespaceOf(pid), readlink("/proc/1/ns/net")]);
  if (theirs === host) {
    throw new DrayError("BAD_REQUEST", `process ${pid} is in the host's network namespace`, {
      remedy: "Containers with host networking cannot be migrated.",
    });
  }
}

async function namespaceOf(pid: number): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/ns/net`);
  } catch (cause) {
    throw new DrayError("NOT_FOUND", `process ${pid} is gone`, { cause });
  }
}

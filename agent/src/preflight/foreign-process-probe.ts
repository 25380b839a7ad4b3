/**
 * Whether CRIU can dump processes of users other than its own. It needs CAP_SYS_RESOURCE to read their limits; where
 * that is missing, a process of nobody's is dumped to see: hosts may have other ways.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { readCriuLog } from "../criu/criu-log.ts";
import { diagnose } from "../criu/diagnosis.ts";
import { runCommand } from "../host/run-command.ts";
import { hasSysResource } from "./capabilities.ts";
import { inWorkDirectory } from "./work-directory.ts";

const NOBODY = 65_534;
const LIMIT_MS = 15_000;

/** What CRIU has against it; empty if it can. Throws DrayError TIMEOUT, CANCELLED. */
export async function foreignProcessObjection(runDirectory: string, signal?: AbortSignal): Promise<string> {
  if (await hasSysResource()) return "";
  // A session of its own and no files: nothing of the agent's is dumped with it.
  const victim = spawn("sleep", ["60"], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdio: "ignore",
    detached: true,
  });
  try {
    await once(victim, "spawn");
    return await inWorkDirectory(runDirectory, (directory) => objectionTo(victim, directory, signal));
  } finally {
    await end(victim);
  }
}

async function objectionTo(victim: ChildProcess, directory: string, signal: AbortSignal | undefined): Promise<string> {
  const argv = ["criu", "dump", "--tree", String(victim.pid), "--images-dir", directory];
  const log = ["--log-file", "dump.log", "-v4", "--manage-cgroups=ignore"];
  try {
    await runCommand([...argv, ...log], { signal, deadlineMs: LIMIT_MS });
    return "";
  } catch (thrown) {
    if (!(thrown instanceof DrayError && thrown.reason === "COMMAND_FAILED")) throw thrown;
    const said = diagnose(await readCriuLog(join(directory, "dump.log")));
    return said === null ? thrown.message : `${said.meaning} (${said.line})`;
  }
}

/** A dump that succeeds has ended it already. */
async function end(victim: ChildProcess): Promise<void> {
  if (victim.pid === undefined || victim.exitCode !== null || victim.signalCode !== null) return;
  const ended = once(victim, "exit");
  victim.kill("SIGKILL");
  await ended;
}

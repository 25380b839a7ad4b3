/** A claim names one process for good: its pid and its start time. */
import { readFile } from "node:fs/promises";
import { unlessGone } from "../host/unless-gone.ts";

const RECHECK_MS = 20;

/** Field 22 of /proc/<pid>/stat, counted behind the name, which may hold anything. */
export function startTimeOf(stat: string): string | null {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
}

/** True while the process that made this claim lives, under whatever program. */
export async function claimantLives(claim: string): Promise<boolean> {
  const [pid, startTime] = claim.split("-");
  const stat = await unlessGone(readFile(`/proc/${pid}/stat`, "utf8"));
  if (stat === undefined) return false;
  const state = stat.slice(stat.lastIndexOf(")") + 2)[0];
  return startTimeOf(stat) === startTime && state !== "Z" && state !== "X";
}

/** Returns true when it has ended, false when the limit has passed first. */
export async function claimantEnds(claim: string, limitMs: number, recheckMs = RECHECK_MS): Promise<boolean> {
  for (let waitedMs = 0; await claimantLives(claim); waitedMs += recheckMs) {
    if (waitedMs >= limitMs) return false;
    // A process that is no child of ours tells nobody of its end.
    await new Promise((resolve) => setTimeout(resolve, recheckMs));
  }
  return true;
}

/** Kills the claimant, if it still lives. */
export async function killClaimant(claim: string): Promise<void> {
  if (!(await claimantLives(claim))) return;
  try {
    process.kill(Number(claim.split("-")[0]), "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** drayage-fault-server as a systemd unit of its own: a container's memory hangs on it, it outlives the agent. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { type CommandOptions, runCommand } from "../host/run-command.ts";
import { stopTransientUnit, transientUnitRuns } from "../host/transient-unit.ts";
import { unlessGone } from "../host/unless-gone.ts";

const PROGRAM = "/usr/lib/drayage/drayage-fault-server";

/** How a server has ended: every page is in its place; the restore failed; stopped with nothing to lose. */
export type FaultOutcome = "done" | "failed" | "stopped";

/** Of the copy's processes: each has a userfaultfd. systemd compares every one with all others. */
const MAX_HELD = 8192;

export interface FaultServerPlace {
  readonly migrationId: string;
  /**
   * Absolute path of the agent's socket, of at most 107 bytes. Beside it the server leaves, at its end, a file of this
   * name with ".outcome" behind it.
   */
  readonly controlSocket: string;
}

/** Of a migration, by the agent's configuration. */
export function faultServerPlace(
  { runDirectory }: { readonly runDirectory: string },
  migrationId: string,
): FaultServerPlace {
  return { migrationId, controlSocket: `${runDirectory}/faults/${migrationId}` };
}

export interface FaultServerStart extends FaultServerPlace {
  /** The restore's work directory, where CRIU looks for `lazy-pages.socket`; created, 0700. */
  readonly workDirectory: string;
  /** Absolute directory of the copy's cgroup, frozen before its memory could be damaged; it may come to be later. */
  readonly cgroup: string;
  /** Default: where the package has it. */
  readonly program?: string;
}

export function faultServerUnit(migrationId: string): string {
  return `drayage-faults-${migrationId}`;
}

/** The server's command line, without the unit. */
function serverArgv({ workDirectory, controlSocket, cgroup, program = PROGRAM }: FaultServerStart): string[] {
  return [program, `${workDirectory}/lazy-pages.socket`, controlSocket, cgroup];
}

/** Returns when it has been executed. Throws DrayError as runCommand does. */
export async function startServerUnit(start: FaultServerStart, options: CommandOptions): Promise<void> {
  await mkdir(start.workDirectory, { recursive: true, mode: 0o700 });
  await mkdir(dirname(start.controlSocket), { recursive: true, mode: 0o700 });
  const properties = [
    `--unit=${faultServerUnit(start.migrationId)}`,
    "--property=Type=exec",
    // Either of its two processes may be the one that is left.
    "--property=ExitType=cgroup",
    // It ends by itself when it may; killed, it would take the container's memory along.
    "--property=SendSIGKILL=no",
    "--property=TimeoutStopSec=3",
    "--property=OOMPolicy=continue",
    "--property=OOMScoreAdjust=-1000",
    "--property=LimitNOFILE=1048576",
    "--property=UMask=0077",
    // Its third holder is systemd: when both processes are killed at once, the next one has the descriptors again.
    "--property=NotifyAccess=all",
    `--property=FileDescriptorStoreMax=${MAX_HELD}`,
    "--property=Restart=on-abnormal",
    "--property=RestartForceExitStatus=1",
    "--property=RestartSec=100ms",
    "--property=StartLimitIntervalSec=0",
    // Threads of the container stand still until it has been on a processor.
    "--property=CPUWeight=1000",
  ];
  await writeFile(`${start.controlSocket}.begin`, "");
  const argv = serverArgv(start).map((word) => word.replaceAll("$", "$$$$"));
  await runCommand(["systemd-run", "--quiet", "--collect", ...properties, "--", ...argv], options);
}

export async function serverRuns(migrationId: string): Promise<boolean> {
  return await transientUnitRuns(faultServerUnit(migrationId));
}

/** Asks it to end, which it does only if there is nothing to lose. */
export async function stopServerUnit(migrationId: string): Promise<void> {
  await stopTransientUnit(faultServerUnit(migrationId));
}

/** Removes what a server has left behind, unless it was killed: the next one knows by that what to guard. */
export async function forgetOutcome(place: Pick<FaultServerPlace, "controlSocket">): Promise<void> {
  if ((await readOutcome(place)) !== "killed") await removeTraces(place);
}

/** Of one whose copy is dead. */
export async function removeTraces({ controlSocket }: Pick<FaultServerPlace, "controlSocket">): Promise<void> {
  for (const end of ["", ".begin", ".outcome", ".outcome.draft"]) await rm(`${controlSocket}${end}`, { force: true });
}

/**
 * What a server has left behind; null while it runs, or if there was none. "killed": both of its processes at once,
 * and the copy stands still, without all of its memory. That is removed by the one that guards the copy, at its death.
 */
export async function readOutcome({
  controlSocket,
}: Pick<FaultServerPlace, "controlSocket">): Promise<FaultOutcome | "killed" | null> {
  const text = await unlessGone(readFile(`${controlSocket}.outcome`, "utf8"));
  return text === "done" || text === "failed" || text === "stopped" || text === "killed" ? text : null;
}

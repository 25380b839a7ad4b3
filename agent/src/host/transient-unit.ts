/** Commands as systemd services of their own: they outlive the agent. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { bootClockMs } from "./boot-clock.ts";
import { type CommandOptions, type CommandResult, runCommand } from "./run-command.ts";

export interface TransientUnitOptions extends Omit<CommandOptions, "stdin"> {
  /** Name of the unit without suffix, for example "drayage-dump-<migration>". */
  readonly unit: string;
  /** It lasts until all its processes have ended, not only the first; the others are not killed then. systemd 250. */
  readonly untilEmpty?: boolean;
}

/** How long systemd waits before it kills a unit that is stopped. */
const STOP_LIMIT_S = 3;
const RECHECK_MS = 20;

/**
 * Runs a command as a systemd service of its own: it is no child of the agent
 * and outlives it. The signal and the deadline stop the unit.
 *
 * Throws as runCommand does; the unit is gone then.
 */
export async function runTransientUnit(argv: readonly string[], options: TransientUnitOptions): Promise<CommandResult> {
  const { unit, env: _env, cwd: _cwd, untilEmpty: _untilEmpty, ...command } = options;
  try {
    return await runCommand(transientUnitArgv(argv, options), command);
  } catch (error) {
    // Only the waiting systemd-run is dead now, not yet what it had started.
    if (error instanceof DrayError && error.reason !== "COMMAND_FAILED") await stopTransientUnit(unit);
    throw error;
  }
}

/** The command line that runs `argv` as a unit, with this process's stdin, stdout and stderr, and ends with it. */
export function transientUnitArgv(
  argv: readonly string[],
  { unit, env = {}, cwd, untilEmpty = false }: Pick<TransientUnitOptions, "unit" | "env" | "cwd" | "untilEmpty">,
): string[] {
  const properties = [
    `--unit=${unit}`,
    `--property=TimeoutStopSec=${STOP_LIMIT_S}`,
    "--property=LimitNOFILE=1048576",
    "--property=UMask=0077",
    // A container stands still meanwhile; see go-first.ts.
    "--property=CPUWeight=1000",
    ...Object.entries(env).map(([name, value]) => `--setenv=${name}=${value}`),
    ...(cwd === undefined ? [] : [`--working-directory=${cwd}`]),
    ...(untilEmpty ? ["--property=ExitType=cgroup"] : []),
  ];
  return ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", ...properties, "--", ...argv.map(unexpanded)];
}

/** systemd puts the unit's variables in the place of `$NAME` and `${NAME}`, and `$` in that of `$$`; systemd.service(5). */
function unexpanded(word: string): string {
  return word.replaceAll("$", "$$$$");
}

/** Stops a unit left over by an earlier process of the agent; nothing to do if there is none. */
export async function stopTransientUnit(unit: string): Promise<void> {
  await runCommand(["systemctl", "stop", `${unit}.service`], {
    deadlineMs: (STOP_LIMIT_S + 10) * 1000,
    okCodes: [0, 5],
  });
}

/** Returns when a unit has ended by itself, or has been stopped since the limit had passed. */
export async function endTransientUnit(unit: string, limitMs: number): Promise<void> {
  const endsAtMs = bootClockMs() + limitMs;
  while (await transientUnitRuns(unit)) {
    if (bootClockMs() >= endsAtMs) return await stopTransientUnit(unit);
    // The unit is no child of this process: nobody tells of its end.
    await new Promise((resolve) => setTimeout(resolve, RECHECK_MS));
  }
}

/** True if a unit of this name is at work. */
export async function transientUnitRuns(unit: string): Promise<boolean> {
  const shown = await runCommand(["systemctl", "show", "--property=ActiveState", "--value", `${unit}.service`]);
  return ["active", "activating", "deactivating", "reloading"].includes(shown.stdout.trim());
}

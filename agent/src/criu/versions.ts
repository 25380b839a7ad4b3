/** What CRIU and runc on this host can do. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runCommand } from "../host/run-command.ts";

export const CRIU_FEATURES = [
  "mem_dirty_track",
  "uffd-noncoop",
  "pidfd_store",
  "network_lock_nftables",
  "timens",
] as const;
export type CriuFeature = (typeof CRIU_FEATURES)[number];

const LIMIT_MS = 15_000;

/** CRIU's version as major * 10000 + minor * 100 + patch; 0 if it is missing. */
export async function criuVersion(signal?: AbortSignal): Promise<number> {
  return parseCriuVersion(await output(["criu", "--version"], signal));
}

/** Pure. 0 if the text names none. */
export function parseCriuVersion(text: string): number {
  const found = /^Version: (\d+)\.(\d+)(?:\.(\d+))?/m.exec(text);
  return found === null ? 0 : Number(found[1]) * 10_000 + Number(found[2]) * 100 + Number(found[3] ?? 0);
}

/** The features of CRIU_FEATURES that `criu check --feature` confirms. */
export async function criuFeatures(signal?: AbortSignal): Promise<readonly CriuFeature[]> {
  const checked = await Promise.all(
    CRIU_FEATURES.map((feature) =>
      runCommand(["criu", "check", "--feature", feature], { signal, deadlineMs: LIMIT_MS }).then(
        () => true,
        onlyIfFailed(false),
      ),
    ),
  );
  return CRIU_FEATURES.filter((_, index) => checked[index]);
}

/**
 * What `criu check` has against working on this kernel, in CRIU's words; empty if nothing. It fails for what every dump
 * and restore needs. What only some processes need it asks for with --extra and --all alone, and that dirty pages are
 * not tracked it only warns of: hosts without these do migrate, and are not refused.
 */
export function criuObjection(signal?: AbortSignal): Promise<string> {
  return runCommand(["criu", "check"], { signal, deadlineMs: LIMIT_MS }).then(
    () => "",
    (thrown: unknown) => objectionIn(messageOfFailed(thrown)),
  );
}

/** Pure. The line of the first error, which the others often follow from; all of the text if it has none. */
export function objectionIn(text: string): string {
  return /Error \([^)]*\): .*/.exec(text)?.[0] ?? text;
}

/** runc's version, for example "1.3.6"; empty if it is missing. */
export async function runcVersion(runcPath = "runc", signal?: AbortSignal): Promise<string> {
  return parseRuncVersion(await output([runcPath, "--version"], signal));
}

/** Pure. Empty if the text names none. */
export function parseRuncVersion(text: string): string {
  return /^runc version (\d+\.\d+(?:\.\d+)?)/m.exec(text)?.[1] ?? "";
}

/** True if `runc checkpoint --manage-cgroups-mode ignore` is understood: from 1.2. */
export function knowsIgnoreCgroups(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 2);
}

/** Empty if the program is missing or fails. */
function output(argv: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  return runCommand(argv, { signal, deadlineMs: LIMIT_MS }).then((result) => result.stdout, onlyIfFailed(""));
}

/** A program that fails says no; a cancelled or hanging one says nothing. */
function onlyIfFailed<T>(value: T): (error: unknown) => T {
  return (error) => {
    messageOfFailed(error);
    return value;
  };
}

/** Throws what is no program's failure. */
function messageOfFailed(thrown: unknown): string {
  if (thrown instanceof DrayError && thrown.reason === "COMMAND_FAILED") return thrown.message;
  throw thrown;
}

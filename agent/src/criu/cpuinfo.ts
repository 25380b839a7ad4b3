/** Processors as CRIU sees them: what the source's can do, and whether this host's can take over from it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../host/run-command.ts";

/** CRIU's word on two processors. */
export interface CpuVerdict {
  /** False where CRIU cannot compare processors: it can on x86, POWER and s390, not on arm64. */
  readonly compared: boolean;
  /** Why a process of the source cannot run here; empty if it can, or if nothing was compared. */
  readonly objection: string;
}

const IMAGE = "cpuinfo.img";
/** CRIU ends with -ENOTSUP where the architecture has no such image. */
const UNSUPPORTED = 161;
const LIMIT_MS = 15_000;
const NOT_COMPARED: CpuVerdict = { compared: false, objection: "" };

/**
 * The image of this host's processor, empty where CRIU makes none.
 * `workDirectory` is there and is the caller's. Throws DrayError COMMAND_FAILED, TIMEOUT, CANCELLED.
 */
export async function dumpCpuinfo(workDirectory: string, signal?: AbortSignal): Promise<Buffer> {
  const argv = ["criu", "cpuinfo", "dump", "--images-dir", workDirectory];
  const { code } = await runCommand(argv, { signal, deadlineMs: LIMIT_MS, okCodes: [0, UNSUPPORTED] });
  return code === UNSUPPORTED ? Buffer.alloc(0) : readFile(join(workDirectory, IMAGE));
}

/** What CRIU here says of the source's image. Throws DrayError COMMAND_FAILED, TIMEOUT, CANCELLED. */
export async function checkCpuinfo(
  workDirectory: string,
  image: Uint8Array,
  signal?: AbortSignal,
): Promise<CpuVerdict> {
  if (image.length === 0) return NOT_COMPARED;
  await writeFile(join(workDirectory, IMAGE), image, { mode: 0o600 });
  // What programs may execute, and how large the registers are that they save; not the model or its errata.
  const argv = ["criu", "cpuinfo", "check", "--cpu-cap=ins", "--images-dir", workDirectory];
  const { code, stdout, stderr } = await runCommand(argv, {
    signal,
    deadlineMs: LIMIT_MS,
    okCodes: [0, 1, UNSUPPORTED],
  });
  if (code === UNSUPPORTED) return NOT_COMPARED;
  return { compared: true, objection: code === 0 ? "" : objectionIn(`${stderr}\n${stdout}`) };
}

/** The first error, without the place in CRIU's sources. Pure. */
export function objectionIn(output: string): string {
  const line = /^(?:\([0-9.]+\) )?Error \([^)]*\): (?:cpu: )?(.*)$/m.exec(output)?.[1]?.trim();
  return line === undefined || line === "" ? "no reason given" : line;
}

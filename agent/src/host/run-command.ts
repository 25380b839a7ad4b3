/** Commands of the host: argv arrays, deadlines, bounded output. */
import { spawn } from "node:child_process";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { HeadBuffer, TailBuffer } from "./bounded-output.ts";

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default 30 s. */
  readonly deadlineMs?: number;
  /** Added to the agent's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** Exit codes that are no error. Default [0]. */
  readonly okCodes?: readonly number[];
}

export interface CommandResult {
  readonly code: number;
  /** The first MiB, UTF-8. */
  readonly stdout: string;
  /** The last 64 KiB, UTF-8. */
  readonly stderr: string;
}

const DEFAULT_DEADLINE_MS = 30_000;
const STDOUT_LIMIT_BYTES = 1 << 20;
const STDERR_LIMIT_BYTES = 64 << 10;

/** Throws DrayError COMMAND_FAILED, TIMEOUT or CANCELLED; the process is dead then. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [program, ...rest] = argv;
  if (program === undefined) throw new DrayError("INTERNAL", "runCommand without a program");
  const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
  const timeout = AbortSignal.timeout(deadlineMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  if (signal.aborted) throw stopped(program, deadlineMs, options.signal);

  const result = await run(program, rest, signal, options);
  if (result === null) throw stopped(program, deadlineMs, options.signal);
  if (!(options.okCodes ?? [0]).includes(result.code)) {
    const said = (result.stderr.trim() || result.stdout.trim()).slice(-2000);
    throw new DrayError("COMMAND_FAILED", `${program} ended with ${result.code}: ${said || "no output"}`);
  }
  return result;
}

/** Null if the signal ended it. */
function run(program: string, args: string[], signal: AbortSignal, options: CommandOptions) {
  return new Promise<CommandResult | null>((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const stdout = new HeadBuffer(STDOUT_LIMIT_BYTES);
    const stderr = new TailBuffer(STDERR_LIMIT_BYTES);
    const kill = () => child.kill("SIGKILL");
    signal.addEventListener("abort", kill, { once: true });
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    // A program that does not read its input closes the pipe; its exit code says whether that matters.
    child.stdin.on("error", () => {});
    child.stdin.end(options.stdin ?? "");
    child.once("error", (cause) => {
      signal.removeEventListener("abort", kill);
      reject(new DrayError("COMMAND_FAILED", `cannot run ${program}: ${cause.message}`, { cause }));
    });
    child.once("close", (code, ended) => {
      signal.removeEventListener("abort", kill);
      if (signal.aborted && code === null) resolve(null);
      else resolve({ code: code ?? signalCode(ended), stdout: stdout.text(), stderr: stderr.text() });
    });
  });
}

/** As shells count it: 128 and the signal; the number itself does not matter to callers. */
function signalCode(ended: NodeJS.Signals | null): number {
  return ended === "SIGKILL" ? 137 : ended === "SIGTERM" ? 143 : 128;
}

function stopped(program: string, deadlineMs: number, cancelled: AbortSignal | undefined): DrayError {
  if (cancelled?.aborted) return new DrayError("CANCELLED", `${program} was stopped`, { cause: cancelled.reason });
  return new DrayError("TIMEOUT", `${program} did not end within ${deadlineMs} ms`);
}

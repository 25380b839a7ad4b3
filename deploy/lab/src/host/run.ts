/** Running commands of the host: argv arrays, bounded output, aborted by signal or deadline. */
import { spawn, type StdioOptions } from "node:child_process";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { LabError } from "../errors.ts";

const OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024;

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  readonly deadlineMs?: number;
  /** Text or a stream for stdin; without it stdin is empty. */
  readonly stdin?: string | Readable;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** How errors name the command; the command itself if not given. */
  readonly label?: string;
  /** Called with every whole line of stderr. */
  readonly onStderrLine?: (line: string) => void;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

class Collected {
  text = "";
  add(chunk: Buffer): void {
    this.text = (this.text + chunk.toString("utf8")).slice(-OUTPUT_LIMIT_BYTES);
  }
}

function lines(onLine: ((line: string) => void) | undefined): (chunk: Buffer) => void {
  let rest = "";
  return (chunk) => {
    if (onLine === undefined) return;
    const parts = (rest + chunk.toString("utf8")).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(onLine);
  };
}

/** Runs to the end and gives the exit code, whatever it is. Aborted: the child gets SIGTERM and is waited for. */
export async function runRaw(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = argv;
  if (file === undefined) throw new LabError("failed", "empty command");
  options.signal?.throwIfAborted();
  const deadline = options.deadlineMs === undefined ? [] : [AbortSignal.timeout(options.deadlineMs)];
  const signal = AbortSignal.any([...(options.signal ? [options.signal] : []), ...deadline]);
  const stdio: StdioOptions = [options.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"];
  const child = spawn(file, args, {
    stdio,
    env: options.env ?? process.env,
    ...(options.cwd ? { cwd: options.cwd } : {}),
  });
  const stdout = new Collected();
  const stderr = new Collected();
  const onLine = lines(options.onStderrLine);
  child.stdout?.on("data", (chunk: Buffer) => stdout.add(chunk));
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr.add(chunk);
    onLine(chunk);
  });
  const terminate = () => child.kill("SIGTERM");
  signal.addEventListener("abort", terminate, { once: true });
  try {
    const ended = new Promise<number>((resolve, reject) => {
      child.once("error", (error) =>
        reject(new LabError("precondition", `cannot run ${file}: ${error.message}`, { cause: error })),
      );
      child.once("close", (code, killedBy) => resolve(code ?? 128 + (killedBy === "SIGKILL" ? 9 : 15)));
    });
    const fed = feed(options.stdin, child.stdin);
    const [exitCode] = await Promise.all([ended, fed]);
    if (signal.aborted) {
      options.signal?.throwIfAborted();
      throw new LabError("timeout", `${options.label ?? file} did not end within ${options.deadlineMs} ms`);
    }
    return { exitCode, stdout: stdout.text, stderr: stderr.text };
  } finally {
    signal.removeEventListener("abort", terminate);
  }
}

async function feed(stdin: string | Readable | undefined, target: NodeJS.WritableStream | null): Promise<void> {
  if (stdin === undefined || target === null) return;
  try {
    await pipeline(typeof stdin === "string" ? [stdin] : stdin, target);
  } catch (error) {
    // A child that ends without reading everything says why with its exit code.
    if (
      !(error instanceof Error) ||
      !("code" in error) ||
      !["EPIPE", "ERR_STREAM_PREMATURE_CLOSE"].includes(String(error.code))
    )
      throw error;
  }
}

/** Runs a command that has to succeed and gives its stdout. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await runRaw(argv, options);
  if (exitCode === 0) return stdout;
  const said = (stderr.trim() || stdout.trim()).split("\n").slice(-6).join("\n  ");
  throw new LabError(
    "failed",
    `${options.label ?? describe(argv)} failed with exit code ${exitCode}${said ? `:\n  ${said}` : ""}`,
  );
}

/** Whether a command succeeds. */
export async function succeeds(argv: readonly string[], options: RunOptions = {}): Promise<boolean> {
  return (await runRaw(argv, options)).exitCode === 0;
}

function describe(argv: readonly string[]): string {
  const text = argv.join(" ");
  return text.length > 160 ? `${text.slice(0, 157)}…` : text;
}

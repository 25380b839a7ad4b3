/**
 * A transient unit that is started ahead of time and waits for the word: its
 * start takes systemd tens of milliseconds, its end as many again, its program
 * gets ready, and none of that has to lie where the time counts. Without the
 * word, or without the agent, it ends and nothing has been done.
 *
 * The program says "ready" and reads the word by way of the process that
 * DRAYAGE_WORD_FROM names, from whose standard input and to whose standard
 * output: a descendant that inherits neither can do so (guarded-criu.c).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { TailBuffer } from "./bounded-output.ts";
import { GO_FIRST_SCRIPT } from "./go-first.ts";
import { endTransientUnit, stopTransientUnit, type TransientUnitOptions, transientUnitArgv } from "./transient-unit.ts";

const READY = "ready";
const WORD = "go";
/**
 * Its end is known from its own last line, before systemd tells of it. In a subshell, so that the shell keeps its own
 * standard input and output meanwhile.
 */
const SCRIPT = `${GO_FIRST_SCRIPT}; export DRAYAGE_WORD_FROM=$$; (exec "$@" </dev/null >&2); code=$?; echo "ended $code"; exit $code`;
const STDERR_LIMIT_BYTES = 64 << 10;
const START_LIMIT_MS = 20_000;
const END_LIMIT_MS = 60_000;

export class WaitingUnit {
  readonly #unit: string;
  readonly #child: ChildProcess;
  readonly #stderr = new TailBuffer(STDERR_LIMIT_BYTES);
  readonly #ready = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<number>();
  readonly #closed: Promise<void>;
  #said = "";

  private constructor(argv: readonly string[], options: Omit<TransientUnitOptions, "deadlineMs" | "signal">) {
    this.#unit = options.unit;
    const [program = "", ...args] = transientUnitArgv(["/bin/sh", "-c", SCRIPT, "sh", ...argv], {
      ...options,
      untilEmpty: true,
    });
    this.#child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdin?.on("error", () => {});
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#stderr.push(chunk));
    this.#child.stdout?.on("data", (chunk: Buffer) => this.#listen(chunk.toString("utf8")));
    this.#closed = new Promise((resolve) => this.#child.once("close", () => resolve()));
    this.#child.once("error", (cause) => this.#fail(`cannot run ${program}: ${cause.message}`, cause));
    this.#child.once("close", (code) =>
      this.#fail(`unit ${this.#unit} ended with ${code}: ${this.#stderr.text().trim()}`),
    );
    // Either may be settled before, or without, anybody who waits.
    for (const { promise } of [this.#ready, this.#ended] as const) promise.catch(() => undefined);
  }

  /** Returns when it waits. Throws DrayError COMMAND_FAILED with what it said, TIMEOUT, CANCELLED; the unit is gone then. */
  static async start(
    argv: readonly string[],
    { signal, ...options }: Omit<TransientUnitOptions, "deadlineMs">,
  ): Promise<WaitingUnit> {
    const unit = new WaitingUnit(argv, options);
    const timer = setTimeout(() => {
      unit.#ready.reject(new DrayError("TIMEOUT", `${options.unit} was not ready within ${START_LIMIT_MS} ms`));
    }, START_LIMIT_MS);
    const onAbort = () => unit.#ready.reject(new DrayError("CANCELLED", `${options.unit} was stopped`));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal?.aborted) onAbort();
      await unit.#ready.promise;
      return unit;
    } catch (error) {
      unit.discard();
      await stopTransientUnit(options.unit);
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Lets the program go on, once, and returns when it has ended well. Throws
   * DrayError COMMAND_FAILED with what it said, TIMEOUT, CANCELLED; the unit is
   * gone then.
   */
  async run(options: { readonly deadlineMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const timeout = AbortSignal.timeout(options.deadlineMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const onAbort = () =>
      this.#ended.reject(
        options.signal?.aborted
          ? new DrayError("CANCELLED", `${this.#unit} was stopped`, { cause: options.signal.reason })
          : new DrayError("TIMEOUT", `${this.#unit} did not end within ${options.deadlineMs} ms`),
      );
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      else this.#child.stdin?.end(`${WORD}\n`);
      const code = await this.#ended.promise;
      if (code === 0) return;
      // What it had started may not be interrupted, and is not yet over where the program alone was killed.
      await endTransientUnit(this.#unit, END_LIMIT_MS);
      await this.#closed;
      throw new DrayError(
        "COMMAND_FAILED",
        `${this.#unit} ended with ${code}: ${this.#stderr.text().trim().slice(-2000) || "no output"}`,
      );
    } catch (error) {
      this.discard();
      await stopTransientUnit(this.#unit);
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ends it if it still waits. */
  discard(): void {
    this.#child.stdin?.end();
  }

  #listen(text: string): void {
    this.#said += text;
    if (this.#said.startsWith(`${READY}\n`)) this.#ready.resolve();
    const ended = /^ended (\d+)$/m.exec(this.#said);
    if (ended !== null) this.#ended.resolve(Number(ended[1]));
  }

  #fail(message: string, cause?: unknown): void {
    const error = new DrayError("COMMAND_FAILED", message, { cause });
    this.#ready.reject(error);
    this.#ended.reject(error);
  }
}

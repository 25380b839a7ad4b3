/**
 * Commands that are started ahead of time and wait for their input: when the
 * moment comes that counts, only their work takes time, not their start.
 * Without input they do nothing; if the agent dies, they end.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { TailBuffer } from "./bounded-output.ts";

const STDERR_LIMIT_BYTES = 64 << 10;

export class WaitingCommand {
  readonly #program: string;
  readonly #child: ChildProcess;
  readonly #stderr = new TailBuffer(STDERR_LIMIT_BYTES);
  readonly #ended: Promise<number | null>;
  #used = false;

  /** Starts a program that reads its orders from stdin and acts at the end of it. */
  constructor(argv: readonly string[]) {
    const [program, ...args] = argv;
    if (program === undefined) throw new DrayError("INTERNAL", "WaitingCommand without a program");
    this.#program = program;
    this.#child = spawn(program, args, { stdio: ["pipe", "ignore", "pipe"] });
    this.#child.stderr?.on("data", (chunk: Buffer) => this.#stderr.push(chunk));
    // A program that ends early closes the pipe; its exit code says why.
    this.#child.stdin?.on("error", () => {});
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once("error", (cause) => {
        reject(new DrayError("COMMAND_FAILED", `cannot run ${program}: ${cause.message}`, { cause }));
      });
      this.#child.once("close", resolve);
    });
    // It may end before anybody asks.
    this.#ended.catch(() => undefined);
  }

  /** Gives it its input, once, and waits for its end. Throws DrayError COMMAND_FAILED or TIMEOUT; it is dead then. */
  async run(stdin: string, deadlineMs: number): Promise<void> {
    if (this.#used) throw new DrayError("INTERNAL", `${this.#program} has had its input`);
    this.#used = true;
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), deadlineMs);
    this.#child.stdin?.end(stdin);
    try {
      const code = await this.#ended;
      if (code === 0) return;
      if (code === null) throw new DrayError("TIMEOUT", `${this.#program} did not end within ${deadlineMs} ms`);
      const said = this.#stderr.text().trim().slice(-2000);
      throw new DrayError("COMMAND_FAILED", `${this.#program} ended with ${code}: ${said || "no output"}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it if it still waits. */
  discard(): void {
    if (!this.#used) this.#child.kill("SIGKILL");
    this.#used = true;
  }
}

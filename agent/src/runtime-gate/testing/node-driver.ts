/** The test's hand in a node: runs gate-driver there, sends orders, kills it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Answer {
  readonly result?: unknown;
  readonly error?: string;
  /** Boot-time clock of the node. */
  readonly startMs: number;
  readonly endMs: number;
}

/** How a command is run in a node: "{node}" is replaced by its name. */
export type ExecPrefix = readonly string[];

export class NodeDriver {
  readonly node: string;
  readonly #prefix: ExecPrefix;
  #child: ChildProcess | undefined;
  #unit = "";
  #seq = 0;
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (cause: Error) => void }>();

  constructor(node: string, prefix: ExecPrefix) {
    this.node = node;
    this.#prefix = prefix.map((word) => word.replaceAll("{node}", node));
  }

  /** Starts (again). As a unit of its own, like the agent. */
  start(): void {
    this.#unit = `gate-driver-${process.pid}-${Date.now()}`;
    const unit = ["systemd-run", "--quiet", "--collect", "--pipe", "--wait", `--unit=${this.#unit}`];
    const child = this.#spawn([...unit, "/opt/node", "/opt/gate-driver.mjs"]);
    this.#child = child;
    if (child.stdout === null) throw new Error("no stdout");
    createInterface({ input: child.stdout }).on("line", (line) => {
      const answer = JSON.parse(line) as Answer & { seq: number };
      this.#waiting.get(answer.seq)?.resolve(answer);
      this.#waiting.delete(answer.seq);
    });
    child.once("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("gate-driver has ended"));
      this.#waiting.clear();
    });
  }

  order(cmd: string, fields: object = {}): Promise<Answer> {
    const seq = ++this.#seq;
    return new Promise((resolve, reject) => {
      this.#waiting.set(seq, { resolve: (answer) => resolve(trace(this.node, cmd, answer)), reject });
      this.#child?.stdin?.write(`${JSON.stringify({ seq, cmd, ...fields })}\n`);
    });
  }

  /** The result, or an error. */
  async must(cmd: string, fields: object = {}): Promise<unknown> {
    const { error, result } = await this.order(cmd, fields);
    if (error !== undefined) throw new Error(`${this.node} ${cmd}: ${error}`);
    return result;
  }

  /** stdout of a command in the node; throws unless it succeeds. */
  async run(...argv: string[]): Promise<string> {
    const { stdout } = (await this.must("run", { argv, deadlineMs: 120_000 })) as { stdout: string };
    return stdout.trim();
  }

  /** SIGKILL to the driver, and to nothing that it has started. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    const ended = new Promise((resolve) => child.once("close", resolve));
    const killer = this.#spawn(["systemctl", "kill", "--signal=KILL", `${this.#unit}.service`]);
    await new Promise((resolve) => killer.once("close", resolve));
    await ended;
  }

  #spawn(argv: readonly string[]): ChildProcess {
    const [program = "", ...args] = [...this.#prefix, ...argv];
    return spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  }
}

/** With TWO_PHASE_TRACE set, tells what took how long. */
function trace(node: string, cmd: string, answer: Answer): Answer {
  if (process.env["TWO_PHASE_TRACE"] !== undefined) {
    console.error(`${node} ${answer.startMs} +${answer.endMs - answer.startMs} ${cmd} ${answer.error ?? ""}`);
  }
  return answer;
}

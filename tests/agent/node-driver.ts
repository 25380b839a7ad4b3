/** A test's hand in a node: runs gate-driver there, sends orders, kills it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { buildNodeProgram, NODE } from "../harness/node-program.ts";
import type { TestLab } from "../harness/test-lab.ts";

export interface Answer {
  readonly result?: unknown;
  readonly error?: string;
}

const PROGRAM = "/var/lib/gate-driver.mjs";

export class NodeDriver {
  readonly #lab: TestLab;
  readonly node: string;
  #child: ChildProcess | undefined;
  #unit = "";
  #seq = 0;
  readonly #waiting = new Map<number, { resolve: (answer: Answer) => void; reject: (cause: Error) => void }>();

  constructor(lab: TestLab, node: string) {
    this.#lab = lab;
    this.node = node;
  }

  /** Puts gate-driver into the nodes, as one file. */
  static async install(lab: TestLab, nodes: readonly string[]): Promise<void> {
    const program = await buildNodeProgram(`${import.meta.dirname}/gate-driver.ts`);
    await Promise.all(nodes.map((node) => lab.writeFile(node, PROGRAM, program)));
  }

  static async uninstall(lab: TestLab, nodes: readonly string[]): Promise<void> {
    await Promise.all(nodes.map((node) => lab.exec(node, ["rm", "--force", PROGRAM])));
  }

  /** Starts (again). As a unit of its own, like the agent. */
  async start(): Promise<void> {
    this.#unit = `gate-driver-${process.pid}-${Date.now()}`;
    const unit = ["systemd-run", "--quiet", "--collect", "--pipe", "--wait", `--unit=${this.#unit}`];
    const [file = "", ...args] = await this.#lab.command(this.node, [...unit, NODE, PROGRAM]);
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const answer = JSON.parse(line) as Answer & { seq: number };
      this.#waiting.get(answer.seq)?.resolve(answer);
      this.#waiting.delete(answer.seq);
    });
    child.once("close", () => {
      if (this.#child === child) this.#child = undefined;
      for (const { reject } of this.#waiting.values()) reject(new Error("gate-driver has ended"));
      this.#waiting.clear();
    });
  }

  order(cmd: string, fields: object = {}): Promise<Answer> {
    const seq = ++this.#seq;
    return new Promise((resolve, reject) => {
      if (this.#child === undefined) throw new Error(`${this.node}: gate-driver does not run`);
      this.#waiting.set(seq, { resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify({ seq, cmd, ...fields })}\n`);
    });
  }

  /** The result, or an error. */
  async must(cmd: string, fields: object = {}): Promise<unknown> {
    const { error, result } = await this.order(cmd, fields);
    if (error !== undefined) throw new Error(`${this.node} ${cmd}: ${error}`);
    return result;
  }

  /** stdout of a command that the driver runs; throws unless it succeeds. */
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
    await this.#lab.exec(this.node, ["systemctl", "kill", "--signal=KILL", `${this.#unit}.service`]);
    await ended;
  }
}

/** A lab in the hands of a test: nodes, Docker in them, `dray`, power cuts. */
import { join } from "node:path";
import type { Readable } from "node:stream";
import { etcdctl } from "../../deploy/lab/src/cluster/bring-up.ts";
import { memberNodes } from "../../deploy/lab/src/cluster/members.ts";
import { run, runRaw, type RunOptions, type RunResult } from "../../deploy/lab/src/host/run.ts";
import { type Lab, openLab } from "../../deploy/lab/src/lab/lab.ts";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import { writeInNode } from "../../deploy/lab/src/lab/node-files.ts";
import { eventually } from "./eventually.ts";
import { type AwaitedLine, journalLine } from "./journal.ts";

export type Suite = "forky" | "trixie";

const LAB = join(REPOSITORY, "deploy/lab/lab");
const COMMAND_DEADLINE_MS = 120_000;
const UP_DEADLINE_MS = 900_000;
const READY_MS = 60_000;

/** `lab` with these arguments; its progress goes to our stderr. */
export async function labCommand(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const onStderrLine = (line: string) => process.stderr.write(`${line}\n`);
  return await run([LAB, ...args], { deadlineMs: UP_DEADLINE_MS, onStderrLine, label: `lab ${args[0]}`, ...options });
}

export interface DrayResult<T> {
  readonly exitCode: number;
  readonly document: T;
  readonly stderr: string;
}

export class TestLab {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** The lab of that name, which must be up. */
  static async open(name: string): Promise<TestLab> {
    return new TestLab(await openLab(name));
  }

  get name(): string {
    return this.#lab.layout.name;
  }

  get suite(): Suite {
    return this.#lab.state.suite;
  }

  get nodes(): readonly string[] {
    return this.#lab.plan.nodes.map(({ name }) => name);
  }

  /** Nodes whose Docker keeps images in containerd's store. */
  get containerdNodes(): readonly string[] {
    return this.#lab.state.nodes.filter(({ imageStore }) => imageStore === "containerd").map(({ name }) => name);
  }

  nodeAddress(node: string): string {
    const plan = this.#lab.plan.nodes.find(({ name }) => name === node);
    if (plan === undefined) throw new Error(`no node ${node}`);
    return plan.ipv4;
  }

  /** The n-th address, from 0, that a container may choose for itself. */
  freeAddress(n: number): string {
    const { first, last } = this.#lab.plan.freeAddresses;
    const offset = (address: string) => Number(address.split(".")[3]);
    const count = offset(last) - offset(first) + 1;
    if (n >= count) throw new Error(`the lab has ${count} free addresses; there is none with index ${n}`);
    return [...first.split(".").slice(0, 3), offset(first) + n].join(".");
  }

  /** The command of the host that runs `argv` in the node. */
  async command(node: string, argv: readonly string[]): Promise<string[]> {
    return [...(await this.#lab.driver.command(node, argv))];
  }

  /** Where the host sees a file or socket of a running node. */
  async pathFromHost(node: string, path: string): Promise<string> {
    return await this.#lab.driver.pathFromHost(node, path);
  }

  /** Runs a command in a node that has to succeed; gives its stdout without the last line end. */
  async exec(node: string, argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const label = `${node}: ${argv.slice(0, 6).join(" ").slice(0, 120)}`;
    const deadlineMs = COMMAND_DEADLINE_MS * this.#lab.driver.patience;
    const stdout = await run(await this.command(node, argv), { deadlineMs, label, ...options });
    return stdout.replace(/\n$/, "");
  }

  /** The same, whatever the exit code. */
  async tryExec(node: string, argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const deadlineMs = COMMAND_DEADLINE_MS * this.#lab.driver.patience;
    return await runRaw(await this.command(node, argv), { deadlineMs, ...options });
  }

  async shell(node: string, script: string, ...args: string[]): Promise<string> {
    return await this.exec(node, ["/bin/sh", "-euc", script, "sh", ...args]);
  }

  async docker(node: string, ...args: string[]): Promise<string> {
    return await this.exec(node, ["docker", ...args]);
  }

  /** Waits for a line in the journal of one of a node's units, and gives it. */
  async journalLine(node: string, line: AwaitedLine): Promise<string> {
    return await journalLine(this, node, line);
  }

  async writeFile(node: string, path: string, content: string | Readable, mode = "0644"): Promise<void> {
    await writeInNode(this.#lab, node, path, content, { mode });
  }

  /** `dray … --json` on the host. */
  async dray<T = unknown>(args: readonly string[], options: RunOptions = {}): Promise<DrayResult<T>> {
    const { exitCode, stdout, stderr } = await runRaw([this.drayPath, ...args, "--json"], {
      deadlineMs: 11 * 60_000,
      ...options,
      env: this.environment,
    });
    return { exitCode, document: parseDocument(stdout) as T, stderr };
  }

  /** Waits until the cluster would take a migration: a leader, all agents registered. */
  async ready(nodes: readonly string[] = this.nodes): Promise<void> {
    await eventually(
      async () => {
        const { exitCode, document } = await this.dray<readonly { name: string; state: string }[]>(["node", "ls"]);
        if (exitCode !== 0) return undefined;
        const ready = document.filter(({ state }) => state === "ready").map(({ name }) => name);
        return nodes.every((node) => ready.includes(node)) ? true : undefined;
      },
      { what: `${nodes.join(", ")} are ready`, deadlineMs: READY_MS, everyMs: 200 },
    );
  }

  get drayPath(): string {
    return join(this.#lab.layout.binDirectory, "dray");
  }

  /** What `eval "$(lab env)"` sets. */
  get environment(): NodeJS.ProcessEnv {
    const config = join(this.#lab.layout.clientDirectory, "client.yaml");
    return { ...process.env, DRAYAGE_CONFIG: config, DRAYAGE_LAB: this.name, NO_COLOR: "1" };
  }

  /** Value of a key, asked of the first member that answers; undefined if there is none. */
  async etcdGet(key: string): Promise<string | undefined> {
    let last: RunResult | undefined;
    for (const { name: node } of memberNodes(this.#lab.plan)) {
      last = await this.tryExec(node, etcdctl(["--command-timeout=5s", "get", "--print-value-only", key])).catch(
        () => undefined,
      );
      if (last?.exitCode === 0) return last.stdout === "" ? undefined : last.stdout.trimEnd();
    }
    throw new Error(`no etcd member answers: ${last?.stderr ?? ""}`);
  }

  async control(action: "kill" | "start" | "partition" | "heal", node: string): Promise<void> {
    await labCommand([action, node, "--name", this.name]);
  }

  async link(node: string, rate: string): Promise<void> {
    await labCommand(["link", node, "--rate", rate, "--name", this.name]);
  }

  async images(images: readonly string[], nodes: readonly string[]): Promise<void> {
    await labCommand(["images", ...images, "--node", ...nodes, "--name", this.name]);
  }

  /** Resident set of a unit's main process, bytes; now and at its highest since it started. */
  async residentBytes(node: string, unit: string): Promise<{ now: number; peak: number }> {
    const pid = await this.exec(node, ["systemctl", "show", "--property=MainPID", "--value", unit]);
    const status = await this.exec(node, ["cat", `/proc/${pid}/status`]);
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
    return { now: field("VmRSS"), peak: field("VmHWM") };
  }
}

/** One document, or the last line of NDJSON; null if nothing was printed. */
export function parseDocument(stdout: string): unknown {
  const text = stdout.trim();
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    const lines = text.split("\n");
    if (lines.length === 1) throw new Error(`not JSON: ${text.slice(0, 200)}`, { cause: error });
    return JSON.parse(lines.at(-1) ?? "");
  }
}

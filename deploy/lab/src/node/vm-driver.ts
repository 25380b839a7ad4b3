/**
 * Nodes as virtual machines: a kernel, a clock and a page cache of their own,
 * on an emulated processor, and so slow. One disk for all, which nobody writes
 * to, and a file with what is different for each.
 */
import type { ChildProcess } from "node:child_process";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { machineName } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { run } from "../host/run.ts";
import { waitFor } from "../host/wait.ts";
import { interfaceExists, joinBridge, removeInterface, setPortForwarding } from "../network/bridge.ts";
import type { Progress } from "../progress.ts";
import { exists } from "../rootfs/cache.ts";
import type { Suite } from "../rootfs/recipe.ts";
import { BASE_FILES, ensureVmBase } from "../vm/build.ts";
import { CLOCK_PROGRAM, setClock } from "../vm/clock.ts";
import { ControlKeys, controlPort, raiseControlPort, takesCommands } from "../vm/control.ts";
import { cpioArchive } from "../vm/cpio.ts";
import { nodeMac, qemuArgv } from "../vm/qemu.ts";
import { vmRecipe } from "../vm/recipe.ts";
import { createNodeCgroup, killCgroup, labCgroup, processesIn, removeCgroup } from "./cgroup.ts";
import { type NodeDriver, nodeIsOff, type NodeSpec, type NodeState } from "./driver.ts";
import { hasEnded, inCgroup, launch } from "./launch.ts";
import { firstFiles, ownFiles } from "./own-files.ts";
import { awaitServices } from "./ready.ts";

const PORT_DEADLINE_MS = 30_000;
/** On a machine that has nothing else to do it takes some 15 s. */
const INIT_DEADLINE_MS = 900_000;
/** Below the node's cgroup: the machine itself, and the host's ends of commands, which end with it. */
const MACHINE_CGROUP = "machine";
const COMMANDS_CGROUP = "commands";

export interface VmDriverOptions {
  readonly id: string;
  /** Where each node has its directory. */
  readonly nodesDirectory: string;
  /** Where the keys are with which this host's commands get in. */
  readonly keysDirectory: string;
}

export class VmDriver implements NodeDriver {
  readonly kind = "vm";
  readonly patience = 10;
  readonly #id: string;
  readonly #nodesDirectory: string;
  readonly #keys: ControlKeys;
  /** The last boot: nodes boot one after the other, so that their clocks since boot differ. */
  #lastBoot: Promise<unknown> = Promise.resolve();

  constructor(options: VmDriverOptions) {
    this.#id = options.id;
    this.#nodesDirectory = options.nodesDirectory;
    this.#keys = new ControlKeys(options.keysDirectory);
  }

  async prepare(suite: Suite, progress: Progress, signal?: AbortSignal): Promise<string> {
    return ensureVmBase(vmRecipe(suite), progress, signal);
  }

  async start(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    const boot = this.#lastBoot.then(() => this.#boot(spec, signal));
    this.#lastBoot = boot.catch(() => undefined);
    await boot;
  }

  async #boot(spec: NodeSpec, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { plan, network, base } = spec;
    if (!(await exists(base))) {
      throw new LabError("precondition", `${base}, from which ${plan.name} was made, is gone from the cache`, {
        remedy: "take the lab down and up again",
      });
    }
    // What an end of its own has left.
    await this.powerCut(spec);
    await this.#keys.ensure(signal);
    const directory = join(this.#nodesDirectory, plan.name);
    await mkdir(directory, { recursive: true });
    const disk = join(directory, "disk.qcow2");
    if (!(await exists(disk))) await makeOverlay(disk, join(base, BASE_FILES.disk), signal);
    const initramfs = join(directory, "initramfs");
    await writeFile(initramfs, await this.#initramfs(spec), { mode: 0o600 });
    const machine = machineName(this.#id, plan.name);
    const consoleLog = join(directory, "console.log");
    const argv = qemuArgv({
      machine,
      kernel: join(base, BASE_FILES.kernel),
      initramfs,
      disk,
      consoleLog,
      port: plan.port,
      mac: nodeMac(this.#id, network.nodes.findIndex(({ name }) => name === plan.name) + 1),
      controlPort: controlPort(machine),
    });
    await createNodeCgroup(await labCgroup(this.#id), plan.name);
    const cgroup = await this.#cgroup(plan.name, MACHINE_CGROUP);
    await mkdir(cgroup, { recursive: true });
    const console = await open(consoleLog, "a");
    try {
      const emulator = await launch(cgroup, argv, process.env, console.fd);
      await this.#awaitPorts(spec, emulator, signal);
      await joinBridge(plan.port, network.bridge, signal);
      await setPortForwarding(plan.port, true, signal);
      await raiseControlPort(controlPort(machine), signal);
      await this.#awaitInit(plan.name, emulator, signal);
      emulator.unref();
    } finally {
      await console.close();
    }
    await setClock(await this.command(plan.name, ["python3", "-c", CLOCK_PROGRAM]), signal);
  }

  /** The first root of all nodes, and what is this node's own. */
  async #initramfs(spec: NodeSpec): Promise<Buffer> {
    const entries = (below: string, mode: number, files: Readonly<Record<string, string>>) =>
      Object.entries(files).map(([path, content]) => ({ path: `/${below}${path}`, content, mode }));
    const own = cpioArchive([
      ...entries("node", 0o644, ownFiles(spec)),
      ...entries("node", 0o600, await this.#keys.nodeFiles()),
      ...entries("first", 0o644, firstFiles(spec)),
    ]);
    return Buffer.concat([await readFile(join(spec.base, BASE_FILES.initramfs)), own]);
  }

  async #awaitPorts({ plan }: NodeSpec, emulator: ChildProcess, signal: AbortSignal | undefined): Promise<void> {
    const ports = [plan.port, controlPort(machineName(this.#id, plan.name))];
    await waitFor(
      async () => {
        if (hasEnded(emulator)) throw await this.#endedEarly(plan.name);
        return (await Promise.all(ports.map(interfaceExists))).every(Boolean) ? true : undefined;
      },
      { what: `${plan.name}: QEMU makes its ports`, deadlineMs: PORT_DEADLINE_MS, everyMs: 10, signal },
    );
  }

  async #awaitInit(node: string, emulator: ChildProcess, signal: AbortSignal | undefined): Promise<void> {
    const port = controlPort(machineName(this.#id, node));
    await waitFor(
      async () => {
        if (hasEnded(emulator)) throw await this.#endedEarly(node);
        return (await takesCommands(port)) ? true : undefined;
      },
      { what: `${node}: takes commands`, deadlineMs: INIT_DEADLINE_MS, everyMs: 100, signal },
    );
  }

  async #endedEarly(node: string): Promise<LabError> {
    const text = await readFile(join(this.#nodesDirectory, node, "console.log"), "utf8");
    return new LabError("failed", `${node}: QEMU ended early: ${text.trim().split("\n").slice(-5).join(" | ")}`);
  }

  async awaitReady({ plan }: NodeSpec, signal?: AbortSignal): Promise<void> {
    await awaitServices(this, plan.name, signal);
  }

  async powerCut({ plan }: Pick<NodeSpec, "plan">): Promise<void> {
    const cgroup = await this.#cgroup(plan.name);
    if (await interfaceExists(plan.port)) await setPortForwarding(plan.port, false);
    await killCgroup(cgroup);
    await removeInterface(plan.port);
    await removeCgroup(cgroup);
  }

  async state(node: string): Promise<NodeState> {
    if ((await processesIn(await this.#cgroup(node, MACHINE_CGROUP))).length === 0) return "off";
    return (await takesCommands(controlPort(machineName(this.#id, node)))) ? "running" : "booting";
  }

  async pathFromHost(node: string): Promise<string> {
    throw new LabError("precondition", `${node} is a virtual machine: the host does not see its files`, {
      remedy: "use lab exec and lab cp",
    });
  }

  async command(node: string, argv: readonly string[]): Promise<string[]> {
    if ((await processesIn(await this.#cgroup(node, MACHINE_CGROUP))).length === 0) throw nodeIsOff(node);
    const cgroup = await this.#cgroup(node, COMMANDS_CGROUP);
    await mkdir(cgroup, { recursive: true });
    const terminal = process.stdin.isTTY && process.stdout.isTTY;
    return inCgroup(cgroup, this.#keys.sshArgv(controlPort(machineName(this.#id, node)), argv, terminal));
  }

  async #cgroup(node: string, part = ""): Promise<string> {
    return join(await labCgroup(this.#id), node, part);
  }
}

/** A disk that is the base until it is written to. */
async function makeOverlay(path: string, base: string, signal: AbortSignal | undefined): Promise<void> {
  await run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path], { signal });
}

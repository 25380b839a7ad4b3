/**
 * Nodes as systemd-nspawn containers on the host's kernel: full speed, real
 * systemd and dockerd, their own network. One read-only root for all, one
 * overlay each; Docker's own directories come from the host's file system,
 * because overlay2 does not stack on an overlay.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AddressPlan, machineName, type NodePlan } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { isMountPoint, unmountBelow } from "../host/mounts.ts";
import { run, runRaw } from "../host/run.ts";
import { waitFor } from "../host/wait.ts";
import { interfaceExists, removeInterface, setPortForwarding } from "../network/bridge.ts";
import type { Progress } from "../progress.ts";
import { ensureRootfs } from "../rootfs/build.ts";
import { exists } from "../rootfs/cache.ts";
import { nodeRecipe, type Suite } from "../rootfs/recipe.ts";
import { createNodeCgroup, killCgroup, labCgroup, processesIn, removeCgroup } from "./cgroup.ts";
import type { NodeDriver, NodeSpec, NodeState } from "./driver.ts";
import { findInit } from "./init-process.ts";
import { NSPAWN_ENVIRONMENT, nspawnArgv } from "./nspawn.ts";
import { installResourceLimits } from "./resource-limits.ts";

const INIT_DEADLINE_MS = 30_000;
const BOOT_DEADLINE_MS = 120_000;
const NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Appears when systemd takes orders. */
const INIT_SOCKET = "run/systemd/private";
/** Commands run from outside live here: inside the node's tree, outside its services. */
const EXEC_CGROUP = "payload/lab-exec";

export interface ContainerDriverOptions {
  readonly id: string;
  /** Where each node has its directory. */
  readonly nodesDirectory: string;
}

export class ContainerDriver implements NodeDriver {
  readonly kind = "container";
  readonly #id: string;
  readonly #nodesDirectory: string;

  constructor(options: ContainerDriverOptions) {
    this.#id = options.id;
    this.#nodesDirectory = options.nodesDirectory;
  }

  async prepare(suite: Suite, progress: Progress, signal?: AbortSignal): Promise<string> {
    return ensureRootfs(nodeRecipe(suite), progress, signal);
  }

  async start(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    const { plan, network, base } = spec;
    if (!(await exists(base))) {
      throw new LabError("precondition", `${base}, from which ${plan.name} was made, is gone from the cache`, {
        remedy: "take the lab down and up again",
      });
    }
    const directory = join(this.#nodesDirectory, plan.name);
    const root = join(directory, "root");
    for (const name of ["upper", "work", "root", "docker", "containerd"]) {
      await mkdir(join(directory, name), { recursive: true });
    }
    if (!(await isMountPoint(root))) {
      const options = `lowerdir=${base},upperdir=${join(directory, "upper")},workdir=${join(directory, "work")}`;
      await run(["mount", "-t", "overlay", "-o", options, "overlay", root], { signal });
    }
    await writeNodeFiles(root, spec);
    await installResourceLimits(root, signal);
    const cgroup = await createNodeCgroup(await labCgroup(this.#id), plan.name);
    const console = await open(join(directory, "console.log"), "a");
    try {
      const argv = nspawnArgv({
        machine: machineName(this.#id, plan.name),
        hostname: plan.name,
        root,
        bridge: network.bridge,
        binds: { "/var/lib/docker": join(directory, "docker"), "/var/lib/containerd": join(directory, "containerd") },
      });
      const supervisor = await launch(cgroup, argv, { ...process.env, ...NSPAWN_ENVIRONMENT }, console.fd);
      await this.#awaitInit(plan, cgroup, supervisor, signal);
      supervisor.unref();
    } finally {
      await console.close();
    }
  }

  async #awaitInit(
    plan: NodePlan,
    cgroup: string,
    supervisor: ChildProcess,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await waitFor(
      async () => {
        if (hasEnded(supervisor)) {
          throw new LabError("failed", `${plan.name}: systemd-nspawn ended early: ${await this.#lastWords(plan.name)}`);
        }
        const pid = await findInit(cgroup);
        return pid !== undefined && (await exists(`/proc/${pid}/root/${INIT_SOCKET}`)) ? pid : undefined;
      },
      { what: `${plan.name}: init takes commands`, deadlineMs: INIT_DEADLINE_MS, signal },
    );
  }

  async #lastWords(node: string): Promise<string> {
    const text = await readFile(join(this.#nodesDirectory, node, "console.log"), "utf8");
    return text.trim().split("\n").slice(-5).join(" | ");
  }

  async awaitReady({ plan }: NodeSpec, signal?: AbortSignal): Promise<void> {
    const options = { signal, deadlineMs: BOOT_DEADLINE_MS };
    // Both are queued by the boot already: this waits for the end of their jobs, whatever etcd or an agent still wait for.
    const start = await this.command(plan.name, ["systemctl", "start", "lab-network.service", "docker.service"]);
    const { exitCode, stderr } = await runRaw(start, options);
    if (exitCode !== 0) {
      const failed = await run(
        await this.command(plan.name, ["systemctl", "--failed", "--plain", "--no-legend"]),
        options,
      );
      throw new LabError("failed", `${plan.name} does not boot: ${stderr.trim()}\n  ${failed.trim()}`);
    }
    await run(await this.command(plan.name, ["docker", "info", "--format", "{{.ServerVersion}}"]), options);
  }

  async powerCut({ plan }: Pick<NodeSpec, "plan">): Promise<void> {
    const cgroup = join(await labCgroup(this.#id), plan.name);
    if (await interfaceExists(plan.port)) await setPortForwarding(plan.port, false);
    await killCgroup(cgroup);
    await removeInterface(plan.port);
    await unmountBelow(join(this.#nodesDirectory, plan.name));
    await removeCgroup(cgroup);
  }

  async state(node: string): Promise<NodeState> {
    const cgroup = join(await labCgroup(this.#id), node);
    const pid = await findInit(cgroup);
    if (pid !== undefined && (await exists(`/proc/${pid}/root/${INIT_SOCKET}`))) return "running";
    return (await processesIn(cgroup)).length > 0 ? "booting" : "off";
  }

  async initPid(node: string): Promise<number> {
    const pid = await findInit(join(await labCgroup(this.#id), node));
    if (pid !== undefined) return pid;
    throw new LabError("unavailable", `${node} is off`, { remedy: `start it with: lab start ${node}` });
  }

  async command(node: string, argv: readonly string[]): Promise<string[]> {
    const cgroup = join(await labCgroup(this.#id), node);
    const pid = await this.initPid(node);
    await mkdir(join(cgroup, EXEC_CGROUP), { recursive: true });
    const environment = [`PATH=${NODE_PATH}`, "HOME=/root", "LANG=C.UTF-8", `TERM=${process.env["TERM"] ?? "dumb"}`];
    return inCgroup(join(cgroup, EXEC_CGROUP), [
      ...["nsenter", `--target=${pid}`, "--all", "--", "/usr/bin/env", "-i", ...environment],
      // When this side is ended, the command in the node is too.
      ...["/usr/bin/setpriv", "--pdeathsig", "TERM", ...argv],
    ]);
  }
}

/** The argv that enters a cgroup and then becomes the given command. */
function inCgroup(cgroup: string, argv: readonly string[]): string[] {
  return ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup, ...argv];
}

/** Starts a process that outlives this one; returns when it is in its cgroup, where a kill finds it. */
async function launch(
  cgroup: string,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  outputFd: number,
): Promise<ChildProcess> {
  const [file = "", ...args] = inCgroup(cgroup, argv);
  const child = spawn(file, args, { env, detached: true, stdio: ["ignore", outputFd, outputFd] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  await waitFor(async () => ((await processesIn(cgroup)).length > 0 || hasEnded(child) ? true : undefined), {
    what: `${file} enters ${cgroup}`,
    deadlineMs: INIT_DEADLINE_MS,
    everyMs: 5,
  });
  return child;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** What differs from node to node, written into its root before it boots. */
async function writeNodeFiles(root: string, spec: NodeSpec): Promise<void> {
  const { plan, network } = spec;
  await mkdir(join(root, "etc/lab"), { recursive: true });
  await writeFile(join(root, "etc/hostname"), `${plan.name}\n`);
  await writeFile(join(root, "etc/hosts"), hostsFile(network));
  await writeFile(
    join(root, "etc/lab/network"),
    `LAB_ADDRESS=${plan.ipv4}/${network.prefixLength}\nLAB_GATEWAY=${network.hostIpv4}\n`,
  );
  if (spec.imageStore === "containerd" && !(await exists(join(root, "etc/docker/daemon.json")))) {
    await mkdir(join(root, "etc/docker"), { recursive: true });
    await writeFile(join(root, "etc/docker/daemon.json"), '{ "features": { "containerd-snapshotter": true } }\n');
  }
}

export function hostsFile(network: AddressPlan): string {
  const nodes = network.nodes.map(({ name, ipv4 }) => `${ipv4} ${name}`);
  return ["127.0.0.1 localhost", "::1 localhost", `${network.hostIpv4} lab-host`, ...nodes, ""].join("\n");
}

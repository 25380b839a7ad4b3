/**
 * Nodes as systemd-nspawn containers on the host's kernel: full speed, real
 * systemd and dockerd, their own network. One read-only root for all, one
 * overlay each; Docker's own directories come from the host's file system,
 * because overlay2 does not stack on an overlay.
 */
import type { ChildProcess } from "node:child_process";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { machineName, type NodePlan } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { isMountPoint, unmountBelow } from "../host/mounts.ts";
import { run } from "../host/run.ts";
import { waitFor } from "../host/wait.ts";
import { interfaceExists, removeInterface, setPortForwarding } from "../network/bridge.ts";
import type { Progress } from "../progress.ts";
import { ensureRootfs } from "../rootfs/build.ts";
import { exists } from "../rootfs/cache.ts";
import { nodeRecipe, type Suite } from "../rootfs/recipe.ts";
import { createNodeCgroup, killCgroup, labCgroup, processesIn, removeCgroup } from "./cgroup.ts";
import { type NodeDriver, nodeIsOff, type NodeSpec, type NodeState } from "./driver.ts";
import { findInit } from "./init-process.ts";
import { hasEnded, inCgroup, launch } from "./launch.ts";
import { NSPAWN_ENVIRONMENT, nspawnArgv } from "./nspawn.ts";
import { firstFiles, ownFiles } from "./own-files.ts";
import { awaitServices, NODE_PATH } from "./ready.ts";
import { installResourceLimits } from "./resource-limits.ts";

const INIT_DEADLINE_MS = 30_000;
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
  readonly patience = 1;
  readonly #id: string;
  readonly #nodesDirectory: string;

  constructor(options: ContainerDriverOptions) {
    this.#id = options.id;
    this.#nodesDirectory = options.nodesDirectory;
  }

  async prepare(suite: Suite, progress: Progress, signal?: AbortSignal): Promise<string> {
    return ensureRootfs(nodeRecipe(suite, "host"), progress, signal);
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
    await writeFiles(root, ownFiles(spec));
    await writeFiles(root, await missingIn(root, firstFiles(spec)));
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
    await awaitServices(this, plan.name, signal);
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

  async pathFromHost(node: string, path: string): Promise<string> {
    return `/proc/${await this.#initPid(node)}/root${path}`;
  }

  /** Pid of the node's init as the host sees it; an error when the node is off. */
  async #initPid(node: string): Promise<number> {
    const pid = await findInit(join(await labCgroup(this.#id), node));
    if (pid === undefined) throw nodeIsOff(node);
    return pid;
  }

  async command(node: string, argv: readonly string[]): Promise<string[]> {
    const cgroup = join(await labCgroup(this.#id), node);
    const pid = await this.#initPid(node);
    await mkdir(join(cgroup, EXEC_CGROUP), { recursive: true });
    const environment = [`PATH=${NODE_PATH}`, "HOME=/root", "LANG=C.UTF-8", `TERM=${process.env["TERM"] ?? "dumb"}`];
    return inCgroup(join(cgroup, EXEC_CGROUP), [
      ...["nsenter", `--target=${pid}`, "--all", "--", "/usr/bin/env", "-i", ...environment],
      // When this side is ended, the command in the node is too.
      ...["/usr/bin/setpriv", "--pdeathsig", "TERM", ...argv],
    ]);
  }
}

async function writeFiles(root: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

async function missingIn(
  root: string,
  files: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const missing: Record<string, string> = {};
  for (const [path, text] of Object.entries(files)) if (!(await exists(join(root, path)))) missing[path] = text;
  return missing;
}

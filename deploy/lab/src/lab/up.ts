/** Brings a lab up: from nothing, from what a crash left, or completes one that is up. */
import { mkdir } from "node:fs/promises";
import { chooseSubnet, CONTROL_NODE, labId, nodeNames } from "../address/plan.ts";
import { bringUpCluster } from "../cluster/bring-up.ts";
import { type ProductPackage, productPackage } from "../cluster/package.ts";
import { LabError } from "../errors.ts";
import { lockOrWait } from "../host/lock.ts";
import { installMissing, KIND_REQUIREMENTS } from "../host/requirements.ts";
import { raiseLimits } from "../host/sysctl.ts";
import { together } from "../host/together.ts";
import { ensureImage } from "../image/build.ts";
import { importImages } from "../image/import.ts";
import { ensureBridge, usedNetworks } from "../network/bridge.ts";
import type { NodeKind } from "../node/driver.ts";
import type { Progress } from "../progress.ts";
import type { Suite } from "../rootfs/recipe.ts";
import { isAnythingLeft, tearDown } from "./down.ts";
import { assembleLab, hostCount, type Lab, labNodes, lockLab } from "./lab.ts";
import { type LabLayout, labLayout } from "./layout.ts";
import { bootNode } from "./node-control.ts";
import { type LabState, readState, writeState } from "./state.ts";

export interface UpOptions {
  readonly name: string;
  /** Those left out take what the lab has already, or the default. */
  readonly nodes?: number | undefined;
  readonly kind?: NodeKind | undefined;
  readonly suite?: Suite | undefined;
  readonly cluster?: boolean | undefined;
  /** Leaves a lab that failed to come up as it is, to look into it; the next `up` or `down` cleans it up. */
  readonly keepFailed?: boolean | undefined;
  /** A package to install instead of the one built from the sources. */
  readonly package?: string | undefined;
}

const DEFAULTS = { nodes: 3, kind: "container", suite: "forky", cluster: true } as const;

export async function up(options: UpOptions, progress: Progress, signal: AbortSignal): Promise<Lab> {
  const layout = labLayout(options.name);
  nodeNames(options.nodes ?? DEFAULTS.nodes);
  await using _lock = await lockLab(layout);
  await installMissing(progress, signal);
  await raiseLimits(progress);
  const present = await presentState(layout, progress);
  if (present !== undefined) refuseDifference(options, present);
  const kind = present?.kind ?? options.kind ?? DEFAULTS.kind;
  // The node that controls virtual machines is a container.
  await installMissing(progress, signal, KIND_REQUIREMENTS.container);
  if (kind === "vm") await installMissing(progress, signal, KIND_REQUIREMENTS.vm);
  if (present !== undefined) {
    const lab = assembleLab(layout, present);
    await complete(lab, options, progress, signal);
    return lab;
  }
  try {
    const created = await createLab(layout, options, signal);
    const lab = await bringUp(created, options, progress, signal);
    const state: LabState = { ...lab.state, phase: "up" };
    await writeState(layout, state);
    return { ...lab, state };
  } catch (error) {
    if (options.keepFailed === true && !signal.aborted) {
      progress.step(`failed; kept as it is until: lab down --name ${layout.name}`);
      throw error;
    }
    progress.step(signal.aborted ? "interrupted; cleaning up" : "failed; cleaning up");
    await tearDown(layout).catch((cleanup: unknown) => {
      throw new SuppressedError(cleanup, error, `cleaning up failed too; run: lab down --name ${layout.name}`);
    });
    throw error;
  }
}

/** The state of a lab that is up; what an `up` that died has left is cleaned away first. */
async function presentState(layout: LabLayout, progress: Progress): Promise<LabState | undefined> {
  const state = await readState(layout).catch((error: unknown) => {
    if (error instanceof LabError) return undefined;
    throw error;
  });
  if (state?.phase === "up") return state;
  if (await isAnythingLeft(layout)) {
    progress.step("cleaning up what an earlier, unfinished run has left");
    await tearDown(layout);
  }
  return undefined;
}

function refuseDifference(options: UpOptions, present: LabState): void {
  const asked = { nodes: options.nodes, kind: options.kind, suite: options.suite, cluster: options.cluster };
  const has = { nodes: hostCount(present), kind: present.kind, suite: present.suite, cluster: present.cluster };
  for (const key of ["nodes", "kind", "suite", "cluster"] as const) {
    if (asked[key] !== undefined && asked[key] !== has[key]) {
      throw new LabError("precondition", `lab "${options.name}" is up with ${key} ${has[key]}, not ${asked[key]}`, {
        remedy: "take it down first, or give the new lab another --name",
      });
    }
  }
}

/** Chooses a network and writes the first state. Two labs at once choose one after the other. */
async function createLab(layout: LabLayout, options: UpOptions, signal: AbortSignal): Promise<Lab> {
  const { nodes, kind, suite, cluster } = { ...DEFAULTS, ...defined(options) };
  const id = labId(layout.directory);
  await mkdir(layout.nodesDirectory, { recursive: true });
  await using _lock = await lockOrWait("network", signal);
  const names = nodeNames(nodes);
  // Emulated processors are too slow for etcd and its clients' deadlines.
  const controlled = kind === "vm" && cluster;
  const state: LabState = {
    version: 1,
    phase: "starting",
    kind,
    suite,
    cluster,
    base: "",
    subnet: chooseSubnet(id, await usedNetworks(signal)),
    nodes: [...(controlled ? [CONTROL_NODE] : []), ...names].map((name) => ({
      name,
      // One node of one suite keeps its images the other way, so that both ways are met everywhere.
      imageStore: suite === "trixie" && name === names.at(-1) ? "containerd" : "graphdriver",
      partitioned: false,
      rateBitsPerSecond: null,
    })),
  };
  await writeState(layout, state);
  const lab = assembleLab(layout, state);
  await ensureBridge(lab.plan, signal);
  return lab;
}

function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** Brings up what a lab that is up lacks; nodes that this booted go off again if it fails. */
async function complete(lab: Lab, options: UpOptions, progress: Progress, signal: AbortSignal): Promise<void> {
  const states = await Promise.all(labNodes(lab).map(({ record }) => lab.driver.state(record.name)));
  try {
    await bringUp(lab, options, progress, signal);
  } catch (error) {
    const booted = labNodes(lab).filter((_, index) => states[index] !== "running");
    await Promise.all(booted.map(({ spec }) => lab.driver.powerCut(spec)));
    throw error;
  }
}

async function bringUp(created: Lab, options: UpOptions, progress: Progress, signal: AbortSignal): Promise<Lab> {
  const { cluster } = created.state;
  let lab = created;
  let product: ProductPackage | undefined;
  await together(signal, [
    async (stop) => {
      if (lab.state.base === "") lab = await withBase(lab, progress, stop);
      const boots = labNodes(lab).map((node) => (end: AbortSignal) => {
        return bootNode(lab, node, progress.of(node.record.name), end);
      });
      await together(stop, boots);
    },
    async (stop) => {
      if (cluster) product = await productPackage(options.package, progress, stop);
    },
    async (stop) => {
      if (cluster) await ensureImage("redis", progress, stop);
    },
  ]);
  if (product === undefined) return lab;
  const chosen = product;
  await together(signal, [
    (stop) => bringUpCluster(lab, chosen, progress, stop),
    (stop) =>
      importImages(
        lab,
        ["redis"],
        lab.plan.nodes.slice(0, 1).map(({ name }) => name),
        progress,
        stop,
      ),
  ]);
  return lab;
}

async function withBase(lab: Lab, progress: Progress, signal: AbortSignal): Promise<Lab> {
  const base = await lab.driver.prepare(lab.state.suite, progress, signal);
  const controlBase = lab.plan.control === undefined ? undefined : await lab.driver.prepareControl?.(progress, signal);
  const state = { ...lab.state, base, ...(controlBase === undefined ? {} : { controlBase }) };
  await writeState(lab.layout, state);
  return { ...lab, state };
}

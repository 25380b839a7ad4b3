/** Brings a lab up: from nothing, from what a crash left, or completes one that is up. */
import { mkdir } from "node:fs/promises";
import { chooseSubnet, labId, nodeNames } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { lockOrWait } from "../host/lock.ts";
import { installMissing } from "../host/requirements.ts";
import { raiseLimits } from "../host/sysctl.ts";
import { together } from "../host/together.ts";
import { ensureBridge, usedNetworks } from "../network/bridge.ts";
import type { NodeKind } from "../node/driver.ts";
import type { Progress } from "../progress.ts";
import type { Suite } from "../rootfs/recipe.ts";
import { isAnythingLeft, tearDown } from "./down.ts";
import { assembleLab, createDriver, type Lab, labNodes, lockLab } from "./lab.ts";
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
}

const DEFAULTS = { nodes: 3, kind: "container", suite: "forky", cluster: true } as const;

export async function up(options: UpOptions, progress: Progress, signal: AbortSignal): Promise<Lab> {
  const layout = labLayout(options.name);
  createDriver(options.kind ?? DEFAULTS.kind, layout);
  nodeNames(options.nodes ?? DEFAULTS.nodes);
  await using _lock = await lockLab(layout);
  await installMissing(progress, signal);
  await raiseLimits(progress);
  const present = await presentState(layout, progress);
  if (present !== undefined) {
    refuseDifference(options, present);
    const lab = assembleLab(layout, present);
    await bringUp(lab, progress, signal);
    return lab;
  }
  try {
    const lab = await createLab(layout, options, signal);
    await bringUp(lab, progress, signal);
    const state: LabState = { ...lab.state, phase: "up" };
    await writeState(layout, state);
    return { ...lab, state };
  } catch (error) {
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
  const has = { nodes: present.nodes.length, kind: present.kind, suite: present.suite, cluster: present.cluster };
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
  const state: LabState = {
    version: 1,
    phase: "starting",
    kind,
    suite,
    cluster,
    subnet: chooseSubnet(id, await usedNetworks(signal)),
    nodes: names.map((name) => ({
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

async function bringUp(lab: Lab, progress: Progress, signal: AbortSignal): Promise<void> {
  await lab.driver.prepare(lab.state.suite, progress, signal);
  await together(
    signal,
    labNodes(lab).map((node) => (stop) => bootNode(lab, node, progress.of(node.record.name), stop)),
  );
}

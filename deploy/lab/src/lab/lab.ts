/** One lab: its place, its plan, its driver, its lock. */
import { type AddressPlan, allNodes, CONTROL_NODE, labId, planAddresses } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { lockOrRefuse } from "../host/lock.ts";
import { ContainerDriver } from "../node/container-driver.ts";
import { ControlledDriver } from "../node/controlled-driver.ts";
import type { NodeDriver, NodeKind, NodeSpec } from "../node/driver.ts";
import { VmDriver } from "../node/vm-driver.ts";
import { type LabLayout, labLayout } from "./layout.ts";
import { type LabState, type NodeRecord, readState, writeState } from "./state.ts";

export interface Lab {
  readonly layout: LabLayout;
  readonly id: string;
  readonly plan: AddressPlan;
  readonly driver: NodeDriver;
  readonly state: LabState;
}

export interface LabNode {
  readonly spec: NodeSpec;
  readonly record: NodeRecord;
}

export function createDriver(kind: NodeKind, layout: LabLayout): NodeDriver {
  const { nodesDirectory, keysDirectory } = layout;
  const id = labId(layout.directory);
  const containers = new ContainerDriver({ id, nodesDirectory });
  if (kind === "container") return containers;
  return new ControlledDriver(new VmDriver({ id, nodesDirectory, keysDirectory }), containers);
}

export function assembleLab(layout: LabLayout, state: LabState): Lab {
  const id = labId(layout.directory);
  return {
    layout,
    id,
    plan: planAddresses(id, state.subnet, hostCount(state), isControlled(state)),
    driver: createDriver(state.kind, layout),
    state,
  };
}

/** How many nodes run containers of users. */
export function hostCount(state: Pick<LabState, "nodes">): number {
  return state.nodes.filter(({ name }) => name !== CONTROL_NODE).length;
}

function isControlled(state: Pick<LabState, "nodes">): boolean {
  return state.nodes.some(({ name }) => name === CONTROL_NODE);
}

/** The lab of that name; an error when there is none. */
export async function openLab(name: string): Promise<Lab> {
  const layout = labLayout(name);
  const state = await readState(layout);
  if (state === undefined) {
    throw new LabError("notFound", `there is no lab "${name}"`, {
      remedy: `start it with: lab up${name === "lab" ? "" : ` --name ${name}`}`,
    });
  }
  return assembleLab(layout, state);
}

export function labNodes(lab: Lab): LabNode[] {
  return lab.state.nodes.map((record) => findNode(lab, record.name));
}

export function findNode(lab: Lab, name: string): LabNode {
  const record = lab.state.nodes.find((node) => node.name === name);
  const plan = allNodes(lab.plan).find((node) => node.name === name);
  if (record === undefined || plan === undefined) {
    throw new LabError("notFound", `there is no node "${name}" in lab "${lab.layout.name}"`, {
      remedy: `its nodes are ${lab.state.nodes.map((node) => node.name).join(", ")}`,
    });
  }
  const base = name === CONTROL_NODE ? (lab.state.controlBase ?? "") : lab.state.base;
  return { record, spec: { plan, network: lab.plan, base, imageStore: record.imageStore } };
}

/** Writes the lab's state with one node's record changed. */
export async function updateNode(lab: Lab, name: string, change: Partial<Omit<NodeRecord, "name">>): Promise<Lab> {
  const nodes = lab.state.nodes.map((node) => (node.name === name ? { ...node, ...change } : node));
  const state = { ...lab.state, nodes };
  await writeState(lab.layout, state);
  return { ...lab, state };
}

/** One command at a time may change a lab. */
export async function lockLab(layout: LabLayout): Promise<AsyncDisposable> {
  return lockOrRefuse(`lab/${layout.directory}`, `another command is changing lab "${layout.name}"`);
}

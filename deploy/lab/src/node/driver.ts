/**
 * The port behind which a kind of node lives. Everything else in the lab
 * (bridge, ports, cluster, images) is the same for every kind.
 */
import type { AddressPlan, NodePlan } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import type { Progress } from "../progress.ts";
import type { Suite } from "../rootfs/recipe.ts";

export const NODE_KINDS = ["container", "vm"] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

/** `off`: no process of it lives. `booting`: something lives, but it takes no commands yet. */
export type NodeState = "off" | "booting" | "running";

/** What a node is made from. */
export interface NodeSpec {
  readonly plan: NodePlan;
  readonly network: AddressPlan;
  /** What prepare() gave when the lab was made: nodes keep what they were made from. */
  readonly base: string;
  /** Which image store Docker uses. */
  readonly imageStore: "graphdriver" | "containerd";
}

export function nodeIsOff(node: string): LabError {
  return new LabError("unavailable", `${node} is off`, { remedy: `start it with: lab start ${node}` });
}

export interface NodeDriver {
  readonly kind: NodeKind;

  /** How many times as long as on the host's own processor what runs in a node may take; deadlines are multiplied. */
  readonly patience: number;

  /** Builds or finds what all nodes have in common, and gives its path. Slow the first time. */
  prepare(suite: Suite, progress: Progress, signal?: AbortSignal): Promise<string>;

  /** The same for the node that controls the others; undefined where they do it themselves. */
  prepareControl?(progress: Progress, signal?: AbortSignal): Promise<string>;

  /**
   * Boots a node and returns when its init takes commands. The node's port is
   * then a forwarding port of the bridge. A disk of an earlier boot is kept.
   */
  start(spec: NodeSpec, signal?: AbortSignal): Promise<void>;

  /** Waits until the node has booted its own services and its Docker answers; those that need other nodes may follow. */
  awaitReady(spec: NodeSpec, signal?: AbortSignal): Promise<void>;

  /**
   * Power cut: the port first, so that no farewell of the dying kernel state
   * gets out, then everything at once. Nothing of it runs when this returns;
   * only its disk is left. Does nothing to a node that is off.
   */
  powerCut(spec: Pick<NodeSpec, "plan">): Promise<void>;

  state(node: string): Promise<NodeState>;

  /**
   * Where the host sees a file or a socket of a running node; an error where
   * it does not. `command` reads and writes files of every kind of node.
   */
  pathFromHost(node: string, path: string): Promise<string>;

  /** The command of the host that runs `argv` in the node, with stdin, stdout, stderr and exit code passed through. */
  command(node: string, argv: readonly string[]): Promise<string[]>;
}

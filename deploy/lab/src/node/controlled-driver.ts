/**
 * Slow nodes, and a fast one that controls them: etcd and the coordinator have
 * deadlines that an emulated processor does not keep.
 */
import { CONTROL_NODE } from "../address/plan.ts";
import type { Progress } from "../progress.ts";
import type { Suite } from "../rootfs/recipe.ts";
import type { NodeDriver, NodeKind, NodeSpec, NodeState } from "./driver.ts";

/** Nothing in the controlling node depends on the suite of the others. */
const CONTROL_SUITE: Suite = "forky";

export class ControlledDriver implements NodeDriver {
  readonly #hosts: NodeDriver;
  readonly #control: NodeDriver;

  constructor(hosts: NodeDriver, control: NodeDriver) {
    this.#hosts = hosts;
    this.#control = control;
  }

  get kind(): NodeKind {
    return this.#hosts.kind;
  }

  get patience(): number {
    return this.#hosts.patience;
  }

  prepare(suite: Suite, progress: Progress, signal?: AbortSignal): Promise<string> {
    return this.#hosts.prepare(suite, progress, signal);
  }

  prepareControl(progress: Progress, signal?: AbortSignal): Promise<string> {
    return this.#control.prepare(CONTROL_SUITE, progress, signal);
  }

  start(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    return this.#of(spec.plan.name).start(spec, signal);
  }

  awaitReady(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    return this.#of(spec.plan.name).awaitReady(spec, signal);
  }

  powerCut(spec: Pick<NodeSpec, "plan">): Promise<void> {
    return this.#of(spec.plan.name).powerCut(spec);
  }

  state(node: string): Promise<NodeState> {
    return this.#of(node).state(node);
  }

  pathFromHost(node: string, path: string): Promise<string> {
    return this.#of(node).pathFromHost(node, path);
  }

  command(node: string, argv: readonly string[]): Promise<string[]> {
    return this.#of(node).command(node, argv);
  }

  #of(node: string): NodeDriver {
    return node === CONTROL_NODE ? this.#control : this.#hosts;
  }
}

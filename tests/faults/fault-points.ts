/** Faults at named points of the programs in a lab (shared/src/fault/fault-point.ts): setting them, hearing of them. */
import type { ChildProcess } from "node:child_process";
import { FAULTS_FILE, type FaultAction } from "@drayage/shared/fault/fault-point.ts";
import { followJournal } from "../harness/journal.ts";
import type { TestLab } from "../harness/test-lab.ts";

export interface Fault {
  readonly point: string;
  readonly action: FaultAction;
}

export interface Firing extends Fault {
  readonly node: string;
}

const UNITS = ["drayage-agent", "drayage-coordinator"];

export class FaultPoints {
  readonly #lab: TestLab;
  readonly #followers = new Map<string, ChildProcess>();
  readonly #listeners = new Set<(firing: Firing) => void>();
  /** Since the last `clear`. */
  #fired: Firing[] = [];

  private constructor(lab: TestLab) {
    this.#lab = lab;
  }

  static async open(lab: TestLab): Promise<FaultPoints> {
    const points = new FaultPoints(lab);
    await points.clear();
    return points;
  }

  /** From now on these faults fire on that node, whichever were set there before. */
  async set(node: string, faults: readonly Fault[]): Promise<void> {
    await this.#follow(node);
    await this.#lab.writeFile(node, FAULTS_FILE, faults.map(({ point, action }) => `${point} ${action}\n`).join(""));
  }

  /** No more faults there; what hung goes on. */
  async lift(node: string): Promise<void> {
    await this.#lab.exec(node, ["rm", "-f", FAULTS_FILE]);
  }

  /** No more faults anywhere, and none remembered. */
  async clear(nodes: readonly string[] = this.#lab.nodes): Promise<void> {
    await Promise.all(nodes.map((node) => this.lift(node)));
    this.#fired = [];
  }

  /** The next firing of this point, or the one since the last `clear`. */
  async firing(point: string, deadlineMs: number): Promise<Firing> {
    const past = this.#fired.find((firing) => firing.point === point);
    if (past !== undefined) return past;
    const { promise, resolve, reject } = Promise.withResolvers<Firing>();
    const listener = (firing: Firing) => {
      if (firing.point === point) resolve(firing);
    };
    const timer = setTimeout(() => {
      const fired = this.#fired.map((firing) => `${firing.point} on ${firing.node}`).join(", ") || "none";
      const followed = [...this.#followers.keys()].join(", ");
      reject(new Error(`${point} was not passed within ${deadlineMs} ms; fired: ${fired}; followed: ${followed}`));
    }, deadlineMs);
    this.#listeners.add(listener);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }

  close(): void {
    for (const follower of this.#followers.values()) follower.kill();
    this.#followers.clear();
  }

  /** Listens to the journal of a node; anew after the node was off. */
  async #follow(node: string): Promise<void> {
    if (this.#followers.has(node)) return;
    const child = await followJournal(this.#lab, node, { units: UNITS }, (line) => this.#onLine(node, line));
    this.#followers.set(node, child);
    child.once("close", () => {
      if (this.#followers.get(node) === child) this.#followers.delete(node);
    });
  }

  #onLine(node: string, line: string): void {
    const [, action, point] = /^fault (\S+) at (\S+)$/.exec(line) ?? [];
    if (action === undefined || point === undefined) return;
    const firing = { node, point, action: action as FaultAction };
    this.#fired.push(firing);
    for (const listener of this.#listeners) listener(firing);
  }
}

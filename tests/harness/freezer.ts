/** The freezer of a container, looked at from the host: nothing in the node has to help. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { markedTasks } from "./one-copy.ts";
import type { TestLab } from "./test-lab.ts";

const LOOK_EVERY_MS = 1;

export interface Standstill {
  /** How often it came to stand still. */
  readonly times: number;
  readonly looks: number;
  /** Looks at which it stood still. */
  readonly still: number;
}

export class Freezer {
  readonly #file: string;

  private constructor(file: string) {
    this.#file = file;
  }

  /** Of the container with this mark, which runs in the node. */
  static async of(lab: TestLab, node: string, mark: string): Promise<Freezer> {
    const groups = new Set((await markedTasks(lab, node, mark)).map(({ cgroup }) => cgroup));
    const [group] = groups;
    if (group === undefined || groups.size > 1) throw new Error(`${node} has it in ${groups.size} cgroups`);
    return new Freezer(await lab.pathFromHost(node, `/sys/fs/cgroup${group}/cgroup.events`));
  }

  /** What the kernel says now. */
  get isShut(): boolean {
    return /^frozen 1$/m.test(readFileSync(this.#file, "utf8"));
  }

  /** Looks all the time, for so long. */
  async watch(durationMs: number): Promise<Standstill> {
    let [times, looks, still] = [0, 0, 0];
    let wasShut = false;
    for (const endsAt = performance.now() + durationMs; performance.now() < endsAt; await pause(LOOK_EVERY_MS)) {
      const { isShut } = this;
      looks++;
      if (isShut) still++;
      if (isShut && !wasShut) times++;
      wasShut = isShut;
    }
    return { times, looks, still };
  }

  /** Waits until it is shut. */
  async shut(deadlineMs: number): Promise<void> {
    for (const endsAt = performance.now() + deadlineMs; !this.isShut; await pause(LOOK_EVERY_MS)) {
      if (performance.now() >= endsAt) throw new Error(`it has not stood still within ${deadlineMs} ms`);
    }
  }
}

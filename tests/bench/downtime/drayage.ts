/** Drayage, seen by a client whose one connection lives on: the longest time between two replies. */
import { HeldConnection } from "../../../deploy/held-client/held-connection.ts";
import { knownToCluster, removeContainer, startRedis } from "../../harness/containers.ts";
import { migrate } from "../../harness/migrate.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import type { Measurement, ModeName, Way } from "./way.ts";

const NAME = "bench-drayage";
/** Replies that show that the connection lives. */
const REPLIES = 50;

export interface DrayageMeasurement extends Measurement {
  /** From the freeze to the thaw, by Drayage's own account; the rest is the client's retransmission. */
  readonly lockedMs: number;
  readonly phases: readonly { readonly name: string; readonly node: string; readonly duration_ms: number }[];
}

export class Drayage implements Way {
  readonly name: ModeName;
  readonly #lab: TestLab;
  readonly #nodes: readonly [string, string];

  constructor(lab: TestLab, nodes: readonly [string, string], mode: ModeName) {
    this.name = mode;
    this.#lab = lab;
    this.#nodes = nodes;
  }

  async prepare(): Promise<void> {
    await removeContainer(this.#lab, NAME);
  }

  async measure(megabytes: number, beforeMove: () => Promise<void>): Promise<DrayageMeasurement> {
    const [source, destination] = this.#nodes;
    const address = this.#lab.freeAddress(72);
    try {
      await startRedis(this.#lab, { node: source, name: NAME, address, runtime: "drayage", megabytes });
      await knownToCluster(this.#lab, NAME);
      await beforeMove();
      const held = await HeldConnection.redis({ host: address, port: 6379 });
      await held.moreReplies(REPLIES);
      held.verdict();
      const beganAt = performance.now();
      const report = await migrate(this.#lab, NAME, destination, "--mode", this.name);
      const totalMs = performance.now() - beganAt;
      await held.moreReplies(REPLIES);
      const { longestGap } = await held.stop();
      const phases = report.phases.map(({ name, node, duration_ms }) => ({ name, node, duration_ms }));
      return { downtimeMs: longestGap.durationMs, totalMs, lockedMs: report.downtime_ms, phases };
    } finally {
      await removeContainer(this.#lab, NAME);
    }
  }

  async cleanUp(): Promise<void> {
    await removeContainer(this.#lab, NAME);
  }
}

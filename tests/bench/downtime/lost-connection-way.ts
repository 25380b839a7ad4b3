/** What the ways have in common that keep no connection: a Redis on a node's own address, moved by a script on each side. */
import { fillRedis } from "../../../deploy/held-client/redis.ts";
import { LineConnection } from "../../../deploy/held-client/line-connection.ts";
import { eventually } from "../../harness/eventually.ts";
import { sendingTo } from "../../harness/node-stream.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { hostPid } from "./freeze-watch.ts";
import { measureMove } from "./lost-connection.ts";
import type { Measurement, Way, WayName } from "./way.ts";

const LISTEN_DEADLINE_MS = 30_000;

export interface StartedRedis {
  /** As the node sees it. */
  readonly pid: string;
  /** See `NodeStream`. */
  readonly send: string;
  readonly receive: string;
}

export abstract class LostConnectionWay implements Way {
  abstract readonly name: WayName;
  /** Where the Redis listens, on either node. */
  protected abstract readonly port: number;
  protected readonly lab: TestLab;
  protected readonly nodes: readonly [string, string];

  constructor(lab: TestLab, nodes: readonly [string, string]) {
    this.lab = lab;
    this.nodes = nodes;
  }

  abstract prepare(): Promise<void>;
  abstract cleanUp(): Promise<void>;

  /** Starts an empty Redis on the source and says how it will be moved. */
  protected abstract start(): Promise<StartedRedis>;

  /** Takes away, on both nodes, what a run has made, whatever became of it. */
  protected abstract remove(): Promise<void>;

  async measure(megabytes: number, beforeMove: () => Promise<void>): Promise<Measurement> {
    const [source, destination] = this.nodes;
    try {
      const { pid, ...scripts } = await this.start();
      await this.#fill(source, megabytes);
      const hostsPid = await hostPid(this.lab, source, pid);
      await beforeMove();
      return await measureMove(this.lab, {
        source,
        destination,
        ...scripts,
        pid: hostsPid,
        endpoint: { host: this.lab.nodeAddress(destination), port: this.port },
      });
    } finally {
      await this.remove();
    }
  }

  /** For `StartedRedis.send`: sends stdin to the destination. */
  protected get sending(): string {
    return sendingTo(this.lab.nodeAddress(this.nodes[1]));
  }

  /** Runs a script on both nodes, which may fail. */
  protected async each(script: string): Promise<void> {
    for (const node of this.nodes) await this.lab.tryExec(node, ["/bin/sh", "-c", script]);
  }

  async #fill(node: string, megabytes: number): Promise<void> {
    const endpoint = { host: this.lab.nodeAddress(node), port: this.port };
    const client = await eventually(() => LineConnection.open(endpoint), {
      what: `Redis at ${endpoint.host}:${endpoint.port} listens`,
      deadlineMs: LISTEN_DEADLINE_MS,
    });
    try {
      await fillRedis(client, megabytes);
    } finally {
      client.close();
    }
  }
}

/** Arguments of a Redis for a way that listens there. */
export function redisCommand(port: number): string[] {
  return ["redis-server", "--port", `${port}`, "--protected-mode", "no", "--save", "", "--appendonly", "no"];
}

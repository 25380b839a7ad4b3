/** What this process holds to send a container: the connection, the account of what has gone, room for CRIU's images. */
import type { SyncRequest } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { LaneThreads } from "@drayage/shared/page-stream/lanes/lane-threads.ts";
import { connectTransfer } from "@drayage/shared/page-stream/transfer-client.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import type { SourceEntry } from "../journal/entry.ts";
import type { SentTree } from "../layer/layer.ts";
import type { ChangingPages } from "../memory/changing-pages.ts";
import type { DigestTable } from "../memory/digest-table.ts";
import type { Known } from "../memory/page-judge.ts";
import type { RepeatedPages } from "../memory/repeated-pages.ts";
import type { Throttle } from "../memory/throttle.ts";
import type { WriteTracking } from "../memory/write-tracking.ts";
import type { SentTmpfs } from "../tmpfs/sent-tmpfs.ts";
import { TransitMounts } from "../tmpfs/transit-mounts.ts";
import type { AgentHost } from "./agent-host.ts";
import { makeTransitDirectory, removeTransitDirectory, transitOptionsOf } from "./transit-directory.ts";

/** How a destination's page socket is reached. */
export type TransferAddress = Pick<SyncRequest, "transferToken" | "pageAddresses" | "bandwidthBytesPerSecond">;

/** What the destination has of the container's memory. */
export interface SentMemory {
  readonly digests: DigestTable;
  /** Null if the kernel does not note what is written to. */
  readonly tracking: WriteTracking | null;
  readonly repeated: RepeatedPages;
  readonly changing: ChangingPages;
  /** How many rounds; the next has this number. */
  rounds: number;
  /** Pages that the last round has seen. */
  pages: number;
}

export class OutgoingTransfer {
  readonly #host: AgentHost;
  readonly #logger: Logger;
  readonly #migrationId: string;
  readonly #peerNode: string;
  #connected: TransferConnection | undefined;
  #target: TransferAddress | undefined;
  /** The writable layer; undefined before it was sent. */
  layer: SentTree | undefined;
  /** What the container has of tmpfs, by number, as far as it was sent. */
  readonly tmpfs: SentTmpfs[] = [];
  /** Undefined if no memory is sent before the switch. */
  sentMemory: SentMemory | undefined;
  /** Slows the container down until it is frozen; undefined if nothing does. */
  throttle: Throttle | undefined;
  /** What the destination's runc was told of the container's descriptors, as JSON; undefined before. */
  descriptors: string | undefined;

  constructor(host: AgentHost, { migrationId, peerNode }: SourceEntry, logger: Logger) {
    this.#host = host;
    this.#migrationId = migrationId;
    this.#peerNode = peerNode;
    this.#logger = logger;
  }

  /** Undefined before `connect`, after `release`, and in a process that has taken the migration up from the journal. */
  get connection(): TransferConnection | undefined {
    return this.#connected;
  }

  /** How the destination was reached, to be journaled if it is to be reached again. */
  get target(): TransferAddress | undefined {
    return this.#target;
  }

  /** For whoever sends memory next; null if none was sent yet. */
  get known(): Known | null {
    const { sentMemory } = this;
    if (sentMemory === undefined) return null;
    const { digests, repeated, changing, rounds } = sentMemory;
    return { digests, repeated, changing, round: rounds };
  }

  /** The signal, or the end of the agent, breaks the connection whenever it fires. */
  async connect(target: TransferAddress, signal: AbortSignal): Promise<TransferConnection> {
    return this.#open(target, signal, this.#host.lanes);
  }

  /** The connection that there is, or a new one, without lanes: whoever connects anew is waited for, page by page. */
  async reconnect(target: TransferAddress, signal: AbortSignal): Promise<TransferConnection> {
    return this.#connected ?? (await this.#open(target, signal, undefined));
  }

  async #open(
    target: TransferAddress,
    signal: AbortSignal,
    lanes: LaneThreads | undefined,
  ): Promise<TransferConnection> {
    const { transferToken, pageAddresses, bandwidthBytesPerSecond } = target;
    this.#target = { transferToken, pageAddresses, bandwidthBytesPerSecond };
    this.#connected = await connectTransfer({
      identity: this.#host.identity,
      addresses: pageAddresses,
      peerName: this.#peerNode,
      token: transferToken,
      migrationId: this.#migrationId,
      signal: AbortSignal.any([this.#host.stopping, signal]),
      lanes,
      onIncident: (message, details) => this.#logger.warn({ details }, message),
      ...(bandwidthBytesPerSecond > 0 ? { bandwidthLimitBytesPerSecond: bandwidthBytesPerSecond } : {}),
    });
    return this.#connected;
  }

  /** Gives up the connection, which is of no use any more. */
  async disconnect(): Promise<void> {
    const connection = this.#connected;
    this.#connected = undefined;
    await connection?.close().catch((thrown: unknown) => this.#logger.debug({ err: thrown }, "closing the transfer"));
  }

  /** For CRIU's images, which have no memory in them. NO_SPACE if there is no room. */
  async makeDirectories(): Promise<{ imageDirectory: string; workDirectory: string }> {
    const name = `${this.#migrationId}-source`;
    const demand = { memoryBytes: 0, besideBytes: 0 };
    const imageDirectory = await makeTransitDirectory(transitOptionsOf(this.#host.config), name, demand);
    return { imageDirectory, workDirectory: `${imageDirectory}-work` };
  }

  /** Where the container's tmpfs are mounted to be read. */
  tmpfsMounts(): TransitMounts {
    return new TransitMounts(this.#host.config, `${this.#migrationId}-source`);
  }

  /** Everything, whichever process of the agent has made it. */
  async release(): Promise<void> {
    await this.throttle?.release();
    await this.disconnect();
    this.sentMemory?.digests.close();
    this.sentMemory = undefined;
    // It may name hundreds of thousands of files, and this object stays for questions asked late.
    this.layer = undefined;
    this.tmpfs.length = 0;
    await this.tmpfsMounts().remove();
    const transit = transitOptionsOf(this.#host.config);
    await removeTransitDirectory(transit, `${this.#migrationId}-source`);
    await removeTransitDirectory(transit, `${this.#migrationId}-source-work`);
  }
}

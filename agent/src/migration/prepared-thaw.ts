/**
 * What makes a committed copy reachable, got ready while its verdict is
 * awaited: when it comes, two packet filters vanish and one frame is sent.
 * Nothing here lets anything out before `lift` is called.
 */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { type TcpConnection, tcpConnections } from "../criu/tcp-connections.ts";
import { announce } from "../network-lock/announce.ts";
import { prepareLiftingDestinationLock } from "../network-lock/destination-lock.ts";
import { prepareUnblockMac } from "../network-lock/mac-block.ts";
import type { PreparedRules } from "../network-lock/prepared-rules.ts";
import type { Endpoint } from "./endpoints.ts";

export interface ThawTarget {
  readonly migrationId: string;
  readonly initPid: number;
  readonly endpoints: readonly Endpoint[];
  /** CRIU's images, which know the connections. */
  readonly imageDirectory: string;
}

export class PreparedThaw {
  readonly #target: ThawTarget;
  readonly #filters: readonly PreparedRules[];
  readonly #connections: readonly TcpConnection[];
  #announced: Promise<void> | undefined;

  private constructor(target: ThawTarget, filters: readonly PreparedRules[], connections: readonly TcpConnection[]) {
    this.#target = target;
    this.#filters = filters;
    this.#connections = connections;
  }

  /** For a prepared copy: restored, frozen, its network attached by Docker, behind its lock. */
  static async prepare(target: ThawTarget): Promise<PreparedThaw> {
    const { migrationId, initPid, imageDirectory } = target;
    const connections = await tcpConnections(imageDirectory);
    const unblock = prepareUnblockMac(migrationId);
    try {
      const lift = await prepareLiftingDestinationLock(initPid, migrationId);
      return new PreparedThaw(target, [unblock, lift], connections);
    } catch (error) {
      unblock.discard();
      throw error;
    }
  }

  /** After the verdict, before the thaw. Once. Throws DrayError NETWORK_LOCK_FAILED. */
  async lift(): Promise<void> {
    await Promise.all(this.#filters.map((filter) => filter.apply()));
    // Switches must know the new port before the clients try again; the thaw need not wait for it.
    this.#announced = announce(this.#target.initPid, this.#target.endpoints, this.#connections);
    this.#announced.catch(() => undefined);
  }

  /** Resolves when the addresses have been announced; false if `lift` was not called. */
  async announced(): Promise<boolean> {
    await this.#announced;
    return this.#announced !== undefined;
  }

  discard(): void {
    for (const filter of this.#filters) filter.discard();
  }
}

/** The one thaw that may be ready when the verdict comes. It serves once: a second attempt does everything itself. */
export class ThawInReserve {
  readonly #logger: Logger;
  #ready: Promise<PreparedThaw | undefined> = Promise.resolve(undefined);

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Begins to make it ready; if that fails there is none. */
  prepare(target: ThawTarget): void {
    this.#ready = PreparedThaw.prepare(target).catch((thrown: unknown) => {
      this.#logger.warn({ err: toDrayError(thrown) }, "the thaw could not be made ready; it will take longer");
      return undefined;
    });
  }

  /** Gives it away, as soon as it is ready; undefined if there is none. */
  take(): Promise<PreparedThaw | undefined> {
    const ready = this.#ready;
    this.#ready = Promise.resolve(undefined);
    return ready;
  }

  async discard(): Promise<void> {
    (await this.take())?.discard();
  }
}

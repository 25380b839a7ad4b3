/**
 * What makes a committed copy reachable, got ready while its verdict is
 * awaited: when it comes, two packet filters vanish and one frame is sent.
 * Nothing here lets anything out before `lift` is called.
 */
import { prepareAnnouncement } from "../network-lock/announce.ts";
import { prepareLiftingDestinationLock } from "../network-lock/destination-lock.ts";
import { prepareUnblockMac } from "../network-lock/mac-block.ts";
import type { PreparedRules } from "../network-lock/prepared-rules.ts";
import type { Endpoint } from "./endpoints.ts";

export class PreparedThaw {
  readonly #filters: readonly PreparedRules[];
  readonly #announce: () => Promise<void>;
  #announced: Promise<void> | undefined;

  private constructor(filters: readonly PreparedRules[], announce: () => Promise<void>) {
    this.#filters = filters;
    this.#announce = announce;
  }

  /** For a prepared copy: restored, frozen, its network attached by Docker, behind its lock. */
  static async prepare(migrationId: string, initPid: number, endpoints: readonly Endpoint[]): Promise<PreparedThaw> {
    const unblock = prepareUnblockMac(migrationId);
    const lifting = prepareLiftingDestinationLock(initPid, migrationId);
    try {
      const announcement = await prepareAnnouncement(initPid, endpoints);
      return new PreparedThaw([unblock, await lifting], announcement);
    } catch (error) {
      unblock.discard();
      lifting.then(
        (lift) => lift.discard(),
        () => undefined,
      );
      throw error;
    }
  }

  /** After the verdict, before the thaw. Once. Throws DrayError NETWORK_LOCK_FAILED. */
  async lift(): Promise<void> {
    await Promise.all(this.#filters.map((filter) => filter.apply()));
    // Switches must know the new port before the clients try again; the thaw need not wait for it.
    this.#announced = this.#announce();
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

/** The two ends on the destination: `finished`, the container is one like any other; `aborted`, nothing is left of it. */
import { Once } from "@drayage/shared/concurrency/once.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { unblockMac } from "../network-lock/mac-block.ts";
import type { PageFetch } from "../post-copy/page-fetch.ts";
import type { DestinationContainer } from "./destination-container.ts";
import type { Preparation } from "./destination-prepare.ts";
import type { DestinationContext } from "./destination-record.ts";
import type { Reservation } from "./destination-reserve.ts";
import type { HeldStart } from "./held-start.ts";
import type { ThawInReserve } from "./prepared-thaw.ts";
import { runPhase } from "./run-phase.ts";

const REMOVE_DEADLINE_MS = 30_000;

export interface EndingParts {
  readonly container: Pick<DestinationContainer, "find" | "setRestartPolicy" | "startIfItDied">;
  readonly reservation: Pick<Reservation, "callOff" | "giveUp">;
  readonly preparation: Pick<Preparation, "cancel">;
  readonly fetch: Pick<PageFetch, "complete" | "discard" | "forget">;
  readonly start: Pick<HeldStart, "ends">;
  readonly thaw: Pick<ThawInReserve, "discard">;
}

export class DestinationEnding {
  readonly #context: DestinationContext;
  readonly #parts: EndingParts;
  readonly #finish = new Once<void>();
  readonly #abort = new Once<void>();
  readonly #ended = new AbortController();
  readonly #warnings: string[] = [];

  constructor(context: DestinationContext, parts: EndingParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Fires when nothing remains to be done, or waited for. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** What whoever hears of the end should know. */
  get warnings(): readonly string[] {
    return this.#warnings;
  }

  /** From `running`: policy back, files gone. */
  finish(): Promise<void> {
    return this.#finish.run(() => this.#runFinish());
  }

  /** Removes everything of this migration from this host. Whether it may, the caller has asked etcd. */
  abort(reason: string): Promise<void> {
    return this.#abort.run(() => this.#runAbort(reason));
  }

  async #runFinish(): Promise<void> {
    const { host, record } = this.#context;
    const { container, reservation, fetch, start } = this.#parts;
    const { dockerId, migrationId } = record.entry;
    await start.ends();
    // The images are its memory until then.
    if (record.entry.placesLater) {
      await this.#placed();
      await record.transition("running", { placesLater: false });
    }
    await host.bars.lift(dockerId);
    const isHere = await container.setRestartPolicy();
    await host.gate.disarm(dockerId);
    await unblockMac(migrationId);
    if (isHere) await container.startIfItDied();
    await fetch.forget();
    await reservation.giveUp();
    await record.transition("finished");
    this.#ended.abort();
  }

  /** Returns also when the copy has lost its memory: it is frozen for good then, and of no use. */
  async #placed(): Promise<void> {
    const { phases } = this.#context;
    await runPhase(phases, "place-memory", async () => {
      try {
        await this.#parts.fetch.complete;
      } catch (thrown) {
        const error = toDrayError(thrown);
        if (error.reason === "CANCELLED") throw error;
        phases.logger.error({ err: error }, "the copy has lost its memory");
        this.#warnings.push(
          "its memory was lost while it was brought into its place: if it has not ended since, it stands frozen; start it anew",
        );
      }
    });
  }

  async #runAbort(reason: string): Promise<void> {
    const { docker, gate, bars, identities } = this.#context.host;
    const { record } = this.#context;
    const { container, reservation, preparation, fetch, start, thaw } = this.#parts;
    // All was removed before the attempt that says so failed.
    if (record.entry.state === "aborted") return this.#ended.abort();
    await record.transition("aborting", { error: reason });
    await preparation.cancel(new DrayError("CANCELLED", reason));
    await reservation.callOff();
    await thaw.discard();
    const dockerId = await container.find();
    if (dockerId !== "") {
      const session = gate.session(dockerId);
      // A copy that was thawed has its verdict; given up since, it is removed like any container.
      if (session?.state.name !== "committed") await session?.abort(reason);
      await start.ends();
      await docker.removeContainer(dockerId, { force: true, volumes: true, deadlineMs: REMOVE_DEADLINE_MS });
      await gate.disarm(dockerId);
      await bars.lift(dockerId);
      await identities.forget(dockerId);
    }
    await fetch.discard();
    await unblockMac(record.entry.migrationId);
    await reservation.giveUp();
    await record.transition("aborted");
    this.#ended.abort();
  }
}

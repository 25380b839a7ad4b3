/** What etcd decides reaches the source without an order: nobody may be left to give one. */
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Verdict } from "./ownership.ts";
import { complainUnless, persist } from "./persist.ts";
import type { SourceContext } from "./source-context.ts";

/**
 * In `sent` without a verdict for so long, the source makes its own: by then
 * a leader would have committed or rolled back, so there is none.
 */
const VERDICT_LIMIT_MS = 120_000;

/** The two ends of a migration; both ask etcd before they act. */
export interface SourceEnds {
  finish(): Promise<unknown>;
  abort(reason: string): Promise<unknown>;
}

export class SourceWatch {
  readonly #context: SourceContext;
  readonly #ends: SourceEnds;
  /** Fires when the migration has ended here. */
  readonly #settled: AbortSignal;

  constructor(context: SourceContext, ends: SourceEnds, settled: AbortSignal) {
    this.#context = context;
    this.#ends = ends;
    this.#settled = settled;
  }

  /**
   * Before anything is frozen no key of etcd tells this node that the
   * migration is over, except that the leader has let go of the container.
   */
  followClosing(): void {
    const { host, record, logger } = this.#context;
    const signal = AbortSignal.any([host.stopping, this.#settled]);
    host.ownership
      .awaitClosed(record.question, signal)
      .then(async () => {
        const { state } = record.entry;
        if (state === "syncing" || state === "synced") await this.#abort("the coordinator has ended the migration");
      })
      .catch(complainUnless(signal, logger));
  }

  /** In `sent`: what etcd says decides, with or without a leader. */
  awaitVerdict(): void {
    const { host, record, logger } = this.#context;
    const limit = AbortSignal.timeout(VERDICT_LIMIT_MS);
    const signal = AbortSignal.any([host.stopping, this.#settled, limit]);
    host.ownership
      .awaitVerdict(record.question, isFinal, signal)
      .then(
        (now) => persist(() => this.#carryOut(now), this.#context.persistence),
        async (thrown: unknown) => {
          if (!limit.aborted || this.#settled.aborted || host.stopping.aborted) throw thrown;
          // The copy runs, and fetches its memory from here for as long as that takes.
          const { kind } = await host.ownership.verdict(record.question, host.stopping);
          if (kind === "committed") return this.awaitVerdict();
          logger.warn({ err: toDrayError(thrown) }, "no verdict in time: asking for this node's own");
          await this.#abort("no coordinator decided in time");
          if (!this.#settled.aborted) this.awaitVerdict();
        },
      )
      .catch(complainUnless(signal, logger));
  }

  async #carryOut(verdict: Verdict): Promise<void> {
    const { host, record } = this.#context;
    // Of a source that was away for long, the record of the migration knows more than the owner key.
    const { kind } =
      verdict.kind === "superseded" ? await host.ownership.verdictAsSource(record.question, host.stopping) : verdict;
    if (kind === "committed") await this.#ends.finish();
    else await this.#ends.abort("etcd says that the migration was rolled back");
  }

  #abort(reason: string): Promise<void> {
    return persist(async () => void (await this.#ends.abort(reason)), this.#context.persistence);
  }
}

/** A commit counts once it is durable that the copy runs. */
function isFinal(verdict: Verdict): boolean {
  return verdict.kind !== "open" && (verdict.kind !== "committed" || verdict.running);
}

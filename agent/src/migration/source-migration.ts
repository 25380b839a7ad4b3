/**
 * The source's side of a migration: which order is carried out in which state,
 * once, whoever asks. The states are drawn in source-states.ts; what happens
 * on the way from one to the next is in source-sync.ts, source-switch.ts,
 * source-finish.ts and source-revive.ts.
 */
import { Once } from "@drayage/shared/concurrency/once.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type {
  AbortResponse,
  FinishResponse,
  SwitchResult,
  SyncRequest,
  SyncResult,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { SourceEntry } from "../journal/entry.ts";
import type { AgentHost } from "./agent-host.ts";
import { JoinableRun, type Report } from "./joinable-run.ts";
import { complainUnless, persist } from "./persist.ts";
import { type SourceContext, sourceContext } from "./source-context.ts";
import { finishSource } from "./source-finish.ts";
import { SourceRecord } from "./source-record.ts";
import { endPreCopy, ensureFrozen, reviveSource } from "./source-revive.ts";
import { servePages } from "./source-post-copy.ts";
import { followStarts, setGoing } from "./source-starts.ts";
import { switchSource } from "./source-switch.ts";
import { syncSource } from "./source-sync.ts";
import { SourceWatch } from "./source-watch.ts";
import type { SwitchOrder } from "./switch-target.ts";
import { wayBackOf } from "./source-way-back.ts";

/** Of a source that has ended its part. */
const NOTHING_LEFT: FinishResponse = { warnings: [], thawedAtMs: 0 };

export class SourceMigration {
  private readonly context: SourceContext;
  private readonly watch: SourceWatch;
  private syncRun: JoinableRun<SyncResult> | undefined;
  private switchRun: JoinableRun<SwitchResult> | undefined;
  private readonly ending = new Once<void>();
  /** The way back has been asked for: an order that was overtaken by that must not begin anything. */
  private isCalledOff = false;
  /** Freezing anew, after a restart of the agent or a start of the container: a revival must not be overtaken by it. */
  private refreezing: Promise<unknown> = Promise.resolve();
  private readonly ranOn = new AbortController();
  /** Ends the wait for a verdict when an order has brought one. */
  private readonly settled = new AbortController();

  private constructor(host: AgentHost, record: SourceRecord) {
    this.context = sourceContext(host, record);
    this.watch = new SourceWatch(this.context, this, this.settled.signal);
  }

  /** Journals the intent; nothing of the container has been touched. */
  static async begin(host: AgentHost, request: SyncRequest): Promise<SourceMigration> {
    const migration = new SourceMigration(host, await SourceRecord.begin(host, request));
    migration.watch.followClosing();
    return migration;
  }

  /** Takes up what an earlier process of the agent left; `recover` says what follows. */
  static resume(host: AgentHost, entry: SourceEntry): SourceMigration {
    return new SourceMigration(host, new SourceRecord(host, entry));
  }

  get entry(): SourceEntry {
    return this.context.record.entry;
  }

  /** Sends image (if asked) and writable layer while the container runs. */
  sync(request: SyncRequest): JoinableRun<SyncResult> {
    this.syncRun ??= new JoinableRun((report, signal) => this.runSync(request, report, signal));
    return this.syncRun;
  }

  /**
   * Freezes, dumps, sends.
   *
   * Postconditions: on success everything has been delivered, the container is
   * frozen behind its lock, state `sent`. On failure it runs as before (state
   * `aborted`), unless etcd did not answer: then it stays frozen in `aborting`
   * and goes on asking.
   */
  switch(order: SwitchOrder): JoinableRun<SwitchResult> {
    this.switchRun ??= new JoinableRun((report, signal) => this.runSwitch(order, report, signal));
    return this.switchRun;
  }

  /**
   * Ends the migration after the copy's "running" is durable: kills the frozen
   * container behind its lock. Idempotent. NOT_OWNER while etcd says otherwise.
   */
  async finish(): Promise<FinishResponse> {
    const { host, record } = this.context;
    if (this.entry.state === "finished") return NOTHING_LEFT;
    const verdict = await host.ownership.verdictAsSource(record.question);
    if (verdict.kind !== "committed" || !verdict.running) {
      throw new DrayError(
        "NOT_OWNER",
        `the copy of ${this.entry.containerName} does not run yet by what etcd says (${verdict.kind})`,
      );
    }
    await this.endOnce(() => finishSource(this.context));
    // The container is listed here no more when the migration has ended: an order by its name would find what is gone.
    await host.listing.upToDate();
    return NOTHING_LEFT;
  }

  /**
   * Back to before the migration. Resolves with whether the container runs
   * here; it does not if the commit had won. Idempotent.
   */
  async abort(reason: string): Promise<AbortResponse> {
    const { host, record, container, phases } = this.context;
    const ended = (sourceRunning: boolean, epoch: number): AbortResponse => {
      return { sourceRunning, epoch, steps: [...phases.times], frozenMs: this.entry.frozenMs };
    };
    if (this.entry.state === "finished") return ended(false, this.entry.epoch + 1);
    this.isCalledOff = true;
    const cancelled = new DrayError("CANCELLED", reason);
    await this.syncRun?.cancel(cancelled);
    await this.switchRun?.cancel(cancelled);
    await faultPoint("source.before-own-transaction");
    const verdict = await host.ownership.abortAsSource(record.question, host.stopping);
    await faultPoint("source.after-own-transaction");
    const { isOpen, epoch } = wayBackOf(verdict, this.entry, host.node);
    if (!isOpen) return ended(false, epoch);
    if (this.entry.state !== "aborted")
      await this.endOnce(() => reviveSource(this.context, reason, () => this.refreezing));
    return ended(await container.isRunning(), epoch);
  }

  /** After a restart of the agent: what was half done is undone, what was sent waits for its verdict. */
  async recover(): Promise<void> {
    const { persistence } = this.context;
    switch (this.entry.state) {
      case "finished":
      case "aborted":
        return;
      case "sent":
      case "finishing":
        await this.freezeAgain();
        this.followStarts();
        this.awaitEnd();
        return;
      case "syncing":
      case "synced":
        // Before etcd is asked, which may take long: nothing was entered there.
        await persist(() => endPreCopy(this.context), persistence);
        await persist(async () => void (await this.abort("the agent was restarted in the middle")), persistence);
        return;
      default:
        await persist(async () => void (await this.abort("the agent was restarted in the middle")), persistence);
    }
  }

  /** In `sent`: it stands still, and the copy fetches its memory from here, until the migration has ended here. */
  private awaitEnd(): void {
    this.watch.awaitVerdict();
    void servePages(this.context, this.ranOn.signal, this.untilEnded());
  }

  private followStarts(): void {
    const actions = { hasRunOn: () => this.hasRunOn(), freeze: () => this.freezeAgain() };
    void followStarts(this.context, actions, this.untilEnded());
  }

  private untilEnded(): AbortSignal {
    return AbortSignal.any([this.context.host.stopping, this.settled.signal]);
  }

  private async hasRunOn(): Promise<void> {
    const { host, record, persistence } = this.context;
    this.ranOn.abort();
    // A switch that has come to its end all the same leaves it `sent`.
    await this.switchRun?.cancel(setGoing(this.entry.containerName, host.node));
    if (this.entry.state !== "sent") return;
    // For the next process of the agent: whoever pauses it now makes it look as it was.
    const keep = async () => {
      if (this.entry.state === "sent") await record.transition("sent", { ranOn: true });
    };
    await Promise.all([this.freezeAgain(), persist(keep, persistence)]);
  }

  /** Rejects only when the agent stops. */
  private async freezeAgain(): Promise<void> {
    const options = { ...this.context.persistence, complaint: "the container could not be frozen again" };
    const before = this.refreezing.catch(() => undefined);
    this.refreezing = before.then(() => persist(() => ensureFrozen(this.context), options));
    await this.refreezing;
  }

  private async runSync(request: SyncRequest, report: Report, signal: AbortSignal): Promise<SyncResult> {
    const { state } = this.entry;
    if (this.isCalledOff || state !== "syncing")
      throw new DrayError("CANCELLED", `the source is ${state}, too late for a sync`, { node: this.context.host.node });
    return syncSource(this.context, request, report, signal);
  }

  private async runSwitch(order: SwitchOrder, report: Report, signal: AbortSignal): Promise<SwitchResult> {
    const { host, logger, persistence, transfer } = this.context;
    if (this.isCalledOff || this.entry.state !== "synced" || transfer.connection === undefined) {
      throw new DrayError("CANCELLED", `the source is in state ${this.entry.state}, not ready for a switch`, {
        remedy: "The agent was restarted, or the migration is being rolled back; migrate again.",
      });
    }
    this.followStarts();
    try {
      const result = await switchSource(this.context, transfer.connection, order, report, signal);
      this.awaitEnd();
      return result;
    } catch (thrown) {
      const error = toDrayError(thrown);
      // No need to wait for the leader's order: every further moment is downtime.
      persist(async () => void (await this.abort(error.message)), persistence).catch(
        complainUnless(host.stopping, logger),
      );
      throw error;
    }
  }

  /** Ends (finish or revive) happen once, whoever asks; a failed one may be tried again. */
  private endOnce(body: () => Promise<void>): Promise<void> {
    return this.ending.run(async () => {
      await body();
      this.settled.abort();
    });
  }
}

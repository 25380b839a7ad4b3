/**
 * The destination's side of a migration: its orders, and what it does without
 * one. The states are in destination-states.ts; how they are reached is in
 * destination-reserve.ts, -prepare.ts, -activate.ts and -end.ts.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import type {
  ActivateResponse,
  FetchResult,
  FinishResponse,
  PrepareResult,
  ReserveRequest,
  ReserveResponse,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { PhaseTime } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { type Logger, migrationLogger } from "@drayage/shared/observe/logger.ts";
import type { DestinationEntry, DestinationState } from "../journal/entry.ts";
import { PageFetch } from "../post-copy/page-fetch.ts";
import { faultServerPlace } from "../post-copy/server-unit.ts";
import type { AgentHost } from "./agent-host.ts";
import { Activation, HAS_RUN } from "./destination-activate.ts";
import { DestinationContainer } from "./destination-container.ts";
import { DestinationEnding } from "./destination-end.ts";
import { Preparation } from "./destination-prepare.ts";
import { DestinationRecord } from "./destination-record.ts";
import { journalReserving, Reservation } from "./destination-reserve.ts";
import { HeldStart } from "./held-start.ts";
import type { JoinableRun } from "./joinable-run.ts";
import type { Verdict } from "./ownership.ts";
import { complainUnless, persist } from "./persist.ts";
import { ThawInReserve } from "./prepared-thaw.ts";
import { lastRound, roundDirectory } from "./round-directories.ts";

/** From here on etcd may say that the copy is to run. */
const NEEDS_VERDICT: ReadonlySet<DestinationState> = new Set([
  "prepared",
  "activating",
  "fetching",
  "running",
  "finished",
  "declining",
]);
/** A fault server may hold the memory of the copy. */
const MAY_FETCH: ReadonlySet<DestinationState> = new Set([
  "holding",
  "prepared",
  "activating",
  "fetching",
  "declining",
]);
/** The same where the memory has come, and only its way into the copy is left. */
const MAY_PLACE: ReadonlySet<DestinationState> = new Set([...MAY_FETCH, "running"]);
/** Answers after which asking again brings no committed copy to life. */
const COPY_IS_LOST: ReadonlySet<Reason> = new Set(["NOT_OWNER", "NOT_FOUND", "CRIU_RESTORE_FAILED", "CANCELLED"]);

export class DestinationMigration {
  private readonly host: AgentHost;
  private readonly logger: Logger;
  private readonly record: DestinationRecord;
  private readonly times: PhaseTime[] = [];
  private readonly reservation: Reservation;
  private readonly preparation: Preparation;
  private readonly activation: Activation;
  private readonly ending: DestinationEnding;
  private readonly fetching: PageFetch;
  /** Settles when the fault server of an earlier process of the agent was found, or is known to be lost. */
  private attaching: Promise<void> = Promise.resolve();
  /** Settles when what etcd has decided has been carried out; never rejects. */
  private deciding: Promise<void> = Promise.resolve();

  private constructor(host: AgentHost, entry: DestinationEntry) {
    const { node, metrics } = host;
    const { migrationId } = entry;
    const logger = migrationLogger(host.logger, migrationId, { role: "destination" });
    const record = new DestinationRecord(host, entry);
    const context = {
      host,
      record,
      phases: { migrationId, node, logger, metrics, times: this.times, stopping: host.stopping },
    };
    const container = new DestinationContainer(context);
    const start = new HeldStart(logger);
    const thaw = new ThawInReserve(logger);
    const { imageDirectory } = entry;
    const fetch = new PageFetch({
      place: faultServerPlace(host.config, migrationId),
      images: async () => {
        if (record.entry.placesLater) return imageDirectory;
        const round = await lastRound(imageDirectory);
        return round === null ? null : roundDirectory(imageDirectory, round);
      },
      onTrouble: (message) => logger.error({ phase: "post-copy" }, message),
    });
    const reservation = new Reservation(context, container, fetch);
    const { transfer } = reservation;
    const onPrepared = () => this.awaitOwnVerdict();
    const preparation = new Preparation(context, { container, transfer, reservation, fetch, start, thaw, onPrepared });
    const ending = new DestinationEnding(context, { container, reservation, preparation, fetch, start, thaw });
    this.host = host;
    this.logger = logger;
    this.record = record;
    this.reservation = reservation;
    this.preparation = preparation;
    this.activation = new Activation(context, { container, start, thaw, ending, fetch });
    this.fetching = fetch;
    this.ending = ending;
  }

  /** Journals the intent and makes room for the images. NO_SPACE if there is none. */
  static async begin(host: AgentHost, request: ReserveRequest): Promise<DestinationMigration> {
    const migration = new DestinationMigration(host, await journalReserving(host, request));
    migration.followClosing();
    return migration;
  }

  /** Takes up what an earlier process of the agent left; `recover` says what follows. */
  static resume(host: AgentHost, entry: DestinationEntry): DestinationMigration {
    return new DestinationMigration(host, entry);
  }

  get entry(): DestinationEntry {
    return this.record.entry;
  }

  /** Whether it has brought this container here, and not all of its memory is in its place yet. */
  isPlacing(dockerId: string): boolean {
    const { entry } = this;
    return entry.dockerId === dockerId && entry.placesLater && entry.state === "running";
  }

  /** What has been done here so far, and for how long. */
  get steps(): PhaseTime[] {
    return [...this.times];
  }

  /** Authorises the transfer and, if the image is here, creates the container. Idempotent until `holding`. */
  reserve(): Promise<ReserveResponse> {
    return this.reservation.reserve();
  }

  /**
   * Starts the container into the gate, restores when everything has arrived,
   * and resolves when a verified frozen copy stands. Reports the step "held"
   * when the source may switch. On failure nothing of the copy runs; the
   * leader's Abort cleans up.
   */
  prepare(postCopy: boolean): JoinableRun<PrepareResult> {
    return this.preparation.join(postCopy);
  }

  /** Thaws the committed copy. Idempotent. NOT_OWNER while etcd does not name this node. */
  async activate(): Promise<ActivateResponse> {
    const verdict = await this.verdict();
    if (verdict.kind !== "committed") {
      throw new DrayError(
        "NOT_OWNER",
        `container ${this.entry.containerName} is not committed to this node (${verdict.kind})`,
      );
    }
    const answer = await this.activation.activate();
    if (answer.fetching) this.fetchAll();
    return answer;
  }

  /** In a post-copy: follows the memory of the copy that runs. CANCELLED before it does. */
  async fetch(): Promise<JoinableRun<FetchResult>> {
    await this.attaching;
    const { state } = this.entry;
    if (state !== "fetching" && state !== "running" && state !== "finished") throw this.record.outOfTurn("Fetch");
    return this.activation.fetch();
  }

  /** After "running": policy back, files gone. Idempotent. */
  async finish(): Promise<FinishResponse> {
    const { state } = this.entry;
    if (state !== "running" && state !== "finished") throw this.record.outOfTurn("Finish");
    await this.attaching;
    if (state === "running") await this.ending.finish();
    // Who hears that the migration has ended may order the next one at once, by the container's name.
    await this.host.listing.upToDate();
    return { warnings: [...this.ending.warnings], thawedAtMs: this.entry.thawedAtMs ?? 0 };
  }

  /**
   * Removes everything of this migration from this host. Idempotent. From
   * `prepared` on only if etcd says that it can never be committed: TOO_LATE otherwise.
   */
  async abort(reason: string): Promise<void> {
    const { state, containerName } = this.entry;
    if (state === "aborted") return;
    if (NEEDS_VERDICT.has(state)) {
      const verdict = await this.verdict();
      const runsNothing = state === "prepared" || this.isGone();
      if (verdict.kind !== "aborted" && !(verdict.kind === "superseded" && runsNothing)) {
        throw new DrayError(
          "TOO_LATE",
          `the copy of ${containerName} is ${state} and etcd does not say that the source owns it (${verdict.kind})`,
        );
      }
    }
    await this.ending.abort(reason);
  }

  /**
   * After a restart of the agent: a prepared copy waits for its verdict. What
   * is older waits for the leader's Abort, what runs for its Finish, or until
   * the leader has closed the migration.
   */
  async recover(): Promise<void> {
    this.recoverFetch();
    switch (this.entry.state) {
      case "fetching":
        this.fetchAll();
        this.endWhenGivenUp();
        this.followClosing();
        return;
      case "prepared":
      case "activating":
      case "reserving":
      case "reserved":
      case "holding":
        this.awaitOwnVerdict();
        this.followClosing();
        return;
      case "running":
        this.followClosing();
        return;
      case "declining":
        await this.persist(() => this.activation.decline());
        return;
      case "aborting":
        await this.persist(() => this.ending.abort(this.entry.error));
        return;
      case "finished":
      case "aborted":
        return;
    }
  }

  /** The fault server has outlived the agent; the source comes again with the token of the journal, or all is here. */
  private recoverFetch(): void {
    const { state, postCopy, placesLater, imageDirectory } = this.entry;
    const mayFetch = postCopy !== null && MAY_FETCH.has(state);
    const mayPlace = placesLater && MAY_PLACE.has(state);
    if (!mayFetch && !mayPlace) return;
    this.attaching = this.persist(async () => {
      await this.fetching.attach();
      // Not before: what comes must find somebody to give it to.
      if (mayFetch) this.reservation.authorise();
      else {
        if (HAS_RUN.has(state)) this.fetching.begin();
        void this.fetching.takeFromImages(imageDirectory);
      }
    });
    this.attaching.catch(complainUnless(this.host.stopping, this.logger));
  }

  /** Everything the copy lacks, whoever waits for it. */
  private fetchAll(): void {
    this.attaching.then(() => this.activation.fetch().result).catch(complainUnless(this.host.stopping, this.logger));
  }

  /** What etcd says decides, with or without a leader. */
  private awaitOwnVerdict(): void {
    const signal = AbortSignal.any([this.host.stopping, this.ending.ended]);
    this.deciding = this.host.ownership
      .awaitVerdict(this.record.question, (verdict) => verdict.kind !== "open", signal)
      .then((verdict) => this.carryOut(verdict))
      .catch(complainUnless(signal, this.logger));
  }

  private async carryOut(verdict: Verdict): Promise<void> {
    if (verdict.kind === "committed") await this.persist(() => this.activateUnlessLost());
    else if (this.entry.state === "activating" && !this.isGivenUp(verdict))
      this.logger.error({ verdict }, "the owner has changed since the commit; the copy stays as it is");
    else await this.persist(() => this.abort("etcd says that the migration was rolled back"));
  }

  /**
   * The host was restarted since the restore: no process of the copy is left. From `running` on nothing follows from a
   * session that is not there: the end of the migration takes it, and the container goes on.
   */
  private isGone(): boolean {
    const { state, dockerId } = this.entry;
    return (state === "activating" || state === "fetching") && this.host.gate.session(dockerId) === undefined;
  }

  /** An operator has said that the source goes on. Where it has gone on since, only a copy that is gone may be ended. */
  private isGivenUp({ kind }: Verdict): boolean {
    return kind === "aborted" || (kind === "superseded" && this.isGone());
  }

  /** A copy that was committed ends, whatever state it is in: two must not run. */
  private endWhenGivenUp(): void {
    const signal = AbortSignal.any([this.host.stopping, this.ending.ended]);
    this.host.ownership
      .awaitVerdict(this.record.question, (verdict) => this.isGivenUp(verdict), signal)
      .then(() => this.persist(() => this.abort("the copy was given up")))
      .catch(complainUnless(signal, this.logger));
  }

  /** Throws only what may pass: nobody else may be left to ask for it again. */
  private async activateUnlessLost(): Promise<void> {
    try {
      if ((await this.activation.activate()).fetching) this.fetchAll();
    } catch (thrown) {
      if (this.host.stopping.aborted || !COPY_IS_LOST.has(toDrayError(thrown).reason)) throw thrown;
      this.logger.error({ err: toDrayError(thrown) }, "the committed copy cannot be brought to life");
      this.endWhenGivenUp();
    }
  }

  /** The leader gives up on a node that is away too long; then it tidies up by itself. */
  private followClosing(): void {
    const signal = AbortSignal.any([this.host.stopping, this.ending.ended]);
    this.host.ownership
      .awaitClosed(this.record.question, signal)
      .then(() => this.tidyUp())
      .catch(complainUnless(signal, this.logger));
  }

  private async tidyUp(): Promise<void> {
    // What etcd has decided over a prepared copy is carried out first.
    if (this.entry.state === "prepared" || this.entry.state === "activating") await this.deciding;
    // Not before all memory is here, however long that takes.
    if (this.entry.state === "fetching") await this.attaching.then(() => this.activation.fetch().result);
    switch (this.entry.state) {
      case "running":
        return this.persist(async () => void (await this.finish()));
      case "reserving":
      case "reserved":
      case "holding":
        return this.persist(() => this.abort("the coordinator has ended the migration"));
      case "aborting":
        return this.persist(() => this.ending.abort(this.entry.error));
      case "prepared":
      case "activating":
      case "fetching":
      case "declining":
      case "finished":
      case "aborted":
        return;
    }
  }

  private persist(body: () => Promise<void>): Promise<void> {
    return persist(body, { stopping: this.host.stopping, logger: this.logger });
  }

  private verdict(): Promise<Verdict> {
    return this.host.ownership.verdict(this.record.question);
  }
}

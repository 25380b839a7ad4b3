/**
 * The destination's side of a migration; its states are in destination-states.ts.
 */
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Reason } from "@drayage/shared/errors/reason.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import {
  type ActivateResponse,
  type PrepareResult,
  type ReserveRequest,
  type ReserveResponse,
  SourceDescription,
} from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { PhaseTime } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { type Logger, migrationLogger } from "@drayage/shared/observe/logger.ts";
import type { Authorisation } from "@drayage/shared/page-stream/transfer-types.ts";
import { cgroupPids } from "../host/cgroup.ts";
import { runCommand } from "../host/run-command.ts";
import { restartPolicyOf, STARTS_WITH_DOCKER } from "../docker/restart-policy.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { findImage, type ImageIdentity, importImage } from "../image/image-transfer.ts";
import { type DestinationEntry, type DestinationState, isEnded } from "../journal/entry.ts";
import { mayFollow } from "../journal/transitions.ts";
import { applyLayer, layerDirectory } from "../layer/layer.ts";
import { goFirst } from "../host/go-first.ts";
import { announce } from "../network-lock/announce.ts";
import { destinationFiles } from "../network-lock/destination-files.ts";
import { blockMac, unblockMac } from "../network-lock/mac-block.ts";
import type { RestoreSession } from "../runtime-gate/runtime-gate.ts";
import type { AgentHost } from "./agent-host.ts";
import { createCopy, findCopy } from "./copy.ts";
import { DESTINATION_TRANSITIONS } from "./destination-states.ts";
import { type Endpoint, endpointsOf, macsByParent } from "./endpoints.ts";
import { IncomingTransfer } from "./incoming-transfer.ts";
import { JoinableRun, type Report } from "./joinable-run.ts";
import { bundleRoot } from "./oci-bundle.ts";
import { pause, type Question } from "./ownership.ts";
import { complainUnless, persist } from "./persist.ts";
import { PreparedThaw } from "./prepared-thaw.ts";
import { type PhaseContext, runPhase } from "./run-phase.ts";
import { claimantLives } from "../runtime-gate/claim.ts";
import { Serial } from "../runtime-gate/serial.ts";
import { makeTransitDirectory, removeTransitDirectory, transitOptionsOf } from "./transit-directory.ts";

/** How long `create` waits for this agent, and the restore for its pages. */
const HOLD_DEADLINE_MS = 30 * 60_000;
const REMOVE_DEADLINE_MS = 30_000;
const START_END_LIMIT_MS = 30_000;
/** From here on etcd may say that the copy is to run. */
const NEEDS_VERDICT: ReadonlySet<DestinationState> = new Set([
  "prepared",
  "activating",
  "running",
  "finished",
  "declining",
]);
const RESTORE_BASE_MS = 60_000;
/** Twenty megabytes a second: a disk that swaps. */
const RESTORE_SLOWEST_BYTES_PER_MS = 20_000;
/** Less than the leader waits for an answer to Activate. */
const SYNC_DEADLINE_MS = 30_000;
/** Answers after which asking again brings no committed copy to life. */
const COPY_IS_LOST: ReadonlySet<Reason> = new Set(["NOT_OWNER", "NOT_FOUND", "CRIU_RESTORE_FAILED", "CANCELLED"]);

/** From the last page to the prepared copy: a CRIU that spins must not keep the source frozen for good. */
function restoreDeadlineMs(imageBytes: number): number {
  return RESTORE_BASE_MS + imageBytes / RESTORE_SLOWEST_BYTES_PER_MS;
}

export class DestinationMigration {
  private readonly host: AgentHost;
  private readonly logger: Logger;
  private readonly description: SourceDescription;
  private readonly times: PhaseTime[] = [];
  private entryNow: DestinationEntry;
  private authorisation: Authorisation | undefined;
  private readonly token = randomBytes(32).toString("base64url");
  private readonly transfer: IncomingTransfer;
  private prepareRun: JoinableRun<PrepareResult> | undefined;
  private activation: Promise<ActivateResponse> | undefined;
  private aborting: Promise<void> | undefined;
  private finishing: Promise<void> | undefined;
  /** The latest Reserve: an abort must not overtake it. */
  private reserving: Promise<ReserveResponse> | undefined;
  private readonly writing = new Serial();
  private readonly creating = new Serial();
  /** Settles when Docker's start has; undefined if this process did not call it. */
  private startSettled: Promise<unknown> | undefined;
  /** Docker's start has ended: before a verdict that means that nobody holds the copy any more. */
  private startEnded = false;
  /** Resolves with undefined if it could not be made ready; then the thaw does everything itself. */
  private preparedThaw: Promise<PreparedThaw | undefined> | undefined;
  /** Settles when what etcd has decided has been carried out; never rejects. */
  private deciding: Promise<void> = Promise.resolve();
  /** Ends the wait for a verdict when the migration has ended otherwise. */
  private readonly settled = new AbortController();

  private constructor(host: AgentHost, entry: DestinationEntry) {
    this.host = host;
    this.entryNow = entry;
    this.description = SourceDescription.fromJSON(JSON.parse(entry.descriptionJson));
    this.logger = migrationLogger(host.logger, entry.migrationId, "destination");
    this.transfer = new IncomingTransfer({
      imageDirectory: entry.imageDirectory,
      image: (content) => this.receiveImage(content),
      layer: (content) => this.receiveLayer(content),
      layerRest: (content) => this.receiveLayerRest(content),
    });
  }

  /** Journals the intent and makes room for the images. NO_SPACE if there is none. */
  static async begin(host: AgentHost, request: ReserveRequest): Promise<DestinationMigration> {
    const { description, order } = request;
    if (description === undefined || order === undefined)
      throw new DrayError("BAD_REQUEST", "Reserve needs an order and a description");
    const transit = transitOptionsOf(host.config);
    const entry: DestinationEntry = {
      role: "destination",
      state: "reserving",
      migrationId: order.migrationId,
      uuid: description.uuid,
      containerName: description.name,
      epoch: request.epoch,
      peerNode: request.sourceNode,
      atMs: Date.now(),
      error: "",
      dockerId: "",
      restartPolicy: restartPolicyOf(JSON.parse(description.inspectJson) as ContainerInspect),
      macs: [],
      imageDirectory: await makeTransitDirectory(transit, order.migrationId, description.memoryBytes),
      descriptionJson: JSON.stringify(SourceDescription.toJSON(description)),
      thawedAtMs: null,
    };
    await faultPoint("destination.before-journal-reserving");
    await host.journal.write(entry);
    await faultPoint("destination.after-journal-reserving");
    const migration = new DestinationMigration(host, entry);
    migration.followClosing();
    return migration;
  }

  /** Takes up what an earlier process of the agent left; `recover` says what follows. */
  static resume(host: AgentHost, entry: DestinationEntry): DestinationMigration {
    return new DestinationMigration(host, entry);
  }

  get entry(): DestinationEntry {
    return this.entryNow;
  }

  /** Authorises the transfer and, if the image is here, creates the container. Idempotent until `holding`. */
  reserve(): Promise<ReserveResponse> {
    const reserving = (this.reserving ?? Promise.resolve()).catch(() => undefined).then(() => this.runReserve());
    this.reserving = reserving;
    return reserving;
  }

  private async runReserve(): Promise<ReserveResponse> {
    if (this.entryNow.state !== "reserving" && this.entryNow.state !== "reserved") throw this.outOfTurn("Reserve");
    const imagePresent = (await findImage(this.host.docker, this.imageIdentity())) !== undefined;
    if (imagePresent) await this.ensureContainer();
    this.authorisation ??= this.host.transferServer.authorise({
      token: this.token,
      migrationId: this.entryNow.migrationId,
      peerName: this.entryNow.peerNode,
      receive: (file) => this.transfer.receive(file),
    });
    if (this.entryNow.state === "reserving") await this.transition("reserved");
    return { transferToken: this.token, pageAddresses: this.host.pageAddresses, imagePresent };
  }

  /**
   * Starts the container into the gate, restores when everything has arrived,
   * and resolves when a verified frozen copy stands. Reports the step "held"
   * when the source may switch. On failure nothing of the copy runs; the
   * leader's Abort cleans up.
   */
  prepare(): JoinableRun<PrepareResult> {
    this.prepareRun ??= new JoinableRun((report, signal) => this.runPrepare(report, signal));
    return this.prepareRun;
  }

  /** Thaws the committed copy. Idempotent. NOT_OWNER while etcd does not name this node. */
  async activate(): Promise<ActivateResponse> {
    const verdict = await this.verdict();
    if (verdict.kind !== "committed") {
      throw new DrayError(
        "NOT_OWNER",
        `container ${this.entryNow.containerName} is not committed to this node (${verdict.kind})`,
      );
    }
    return this.activateOnce();
  }

  /** After "running": policy back, files gone. Idempotent. */
  async finish(): Promise<string[]> {
    if (this.entryNow.state === "finished") return [];
    if (this.entryNow.state !== "running") throw this.outOfTurn("Finish");
    this.finishing ??= this.runFinish().catch((thrown: unknown) => {
      this.finishing = undefined;
      throw thrown;
    });
    await this.finishing;
    return [];
  }

  private async runFinish(): Promise<void> {
    const { dockerId, migrationId } = this.entryNow;
    await this.startEnds();
    const isHere = await this.setRestartPolicy();
    await this.host.gate.disarm(dockerId);
    await unblockMac(migrationId);
    if (isHere) await this.startIfItDied();
    await this.removeFiles();
    await this.transition("finished");
    this.settled.abort();
  }

  /** False if somebody has removed the container since it runs here: then there is nothing to set. */
  private async setRestartPolicy(): Promise<boolean> {
    try {
      await this.host.docker.updateRestartPolicy(this.entryNow.dockerId, this.entryNow.restartPolicy);
      return true;
    } catch (thrown) {
      if (toDrayError(thrown).reason === "NOT_FOUND") return false;
      throw thrown;
    }
  }

  /** Until now its policy was off: what Docker would have done at the container's end, or at its own start, is still to do. */
  private async startIfItDied(): Promise<void> {
    const { dockerId, containerName, restartPolicy } = this.entryNow;
    if (!STARTS_WITH_DOCKER.has(restartPolicy.Name)) return;
    const { State } = await this.host.docker.inspectContainer(dockerId);
    if (State.Status !== "exited") return;
    this.logger.warn({ container: containerName }, "the container ended while its restart policy was off: starting it");
    await this.host.docker.startContainer(dockerId).catch((thrown: unknown) => {
      this.logger.error({ err: toDrayError(thrown) }, "the container could not be started");
    });
  }

  /**
   * Removes everything of this migration from this host. Idempotent. From
   * `prepared` on only if etcd says that it can never be committed: TOO_LATE otherwise.
   */
  async abort(reason: string): Promise<void> {
    const { state } = this.entryNow;
    if (state === "aborted") return;
    if (NEEDS_VERDICT.has(state)) {
      const verdict = await this.verdict();
      if (verdict.kind !== "aborted" && !(verdict.kind === "superseded" && state === "prepared")) {
        throw new DrayError(
          "TOO_LATE",
          `the copy of ${this.entryNow.containerName} is ${state} and etcd does not say that the source owns it (${verdict.kind})`,
        );
      }
    }
    await this.abortOnce(reason);
  }

  /**
   * After a restart of the agent: a prepared copy waits for its verdict. What
   * is older waits for the leader's Abort, what runs for its Finish, or until
   * the leader has closed the migration.
   */
  async recover(): Promise<void> {
    switch (this.entryNow.state) {
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
        await this.persist(() => this.decline());
        return;
      case "aborting":
        await this.persist(() => this.abortOnce(this.entryNow.error));
        return;
      case "finished":
      case "aborted":
        return;
    }
  }

  /** The leader gives up on a node that is away too long; then it tidies up by itself. */
  private followClosing(): void {
    const signal = AbortSignal.any([this.host.stopping, this.settled.signal]);
    this.host.ownership
      .awaitClosed(this.question, signal)
      .then(async () => {
        // What etcd has decided over a prepared copy is carried out first.
        if (this.entryNow.state === "prepared" || this.entryNow.state === "activating") await this.deciding;
        const { state } = this.entryNow;
        if (state === "running") await this.persist(async () => void (await this.finish()));
        else if (state === "reserving" || state === "reserved" || state === "holding") {
          await this.persist(() => this.abort("the coordinator has ended the migration"));
        } else if (state === "aborting") {
          await this.persist(() => this.abortOnce(this.entryNow.error));
        }
      })
      .catch(complainUnless(signal, this.logger));
  }

  private persist(body: () => Promise<void>): Promise<void> {
    return persist(body, { stopping: this.host.stopping, logger: this.logger });
  }

  private async runPrepare(report: Report, signal: AbortSignal): Promise<PrepareResult> {
    const { docker, gate } = this.host;
    const { dockerId, migrationId, state } = this.entryNow;
    if (state === "prepared") return { dockerId, steps: this.times };
    if (state !== "reserved" || dockerId === "") throw this.outOfTurn("Prepare");
    const context = this.phaseContext();
    const step = (name: string) => report({ step: name, doneBytes: 0, totalBytes: 0, message: "" });
    const endpoints = await this.endpoints();
    await this.transition("holding", { macs: endpoints.map(({ mac }) => mac) });
    const session = await runPhase(context, "hold-create", async () => {
      for (const [parent, macs] of macsByParent(endpoints)) await blockMac({ migrationId, parent, macs }, signal);
      const network = destinationFiles(migrationId, endpoints);
      const armed = await gate.arm({ dockerId, migrationId, deadlineMs: HOLD_DEADLINE_MS, network });
      signal.throwIfAborted();
      this.startSettled = docker.startContainer(dockerId);
      this.startSettled
        .catch((thrown: unknown) => this.logger.info({ err: toDrayError(thrown) }, "docker start has ended"))
        .finally(() => {
          this.startEnded = true;
        });
      await this.orFailedStart(armed.held, signal);
      return armed;
    });
    step("held");
    await goFirst(async () => {
      const received = runPhase(context, "receive-images", () => this.orFailedStart(this.transfer.complete, signal));
      // Awaited below, when the restore has got as far as it can without them.
      received.catch(() => undefined);
      await this.orFailedStart(this.transfer.restorable, signal);
      step("restore");
      await faultPoint("destination.before-restore");
      await runPhase(context, "restore", async () => {
        await session.release({ imageDirectory: this.entryNow.imageDirectory, workDirectory: this.workDirectory });
        await this.orFailedRestore(session, received, signal);
        await faultPoint("destination.before-pages-complete");
        await session.pagesComplete();
        await this.orFailedRestore(session, session.prepared, signal, restoreDeadlineMs(this.transfer.imageBytes));
      });
    });
    await faultPoint("destination.after-restore");
    this.host.metrics.transferBytesTotal.inc({ direction: "received", kind: "pages" }, this.transfer.imageBytes);
    const { initPid } = await session.prepared;
    const { imageDirectory } = this.entryNow;
    const written = this.transition("prepared");
    this.preparedThaw = PreparedThaw.prepare({ migrationId, initPid, endpoints, imageDirectory }).catch(
      (thrown: unknown) => {
        this.logger.warn({ err: toDrayError(thrown) }, "the thaw could not be made ready; it will take longer");
        return undefined;
      },
    );
    await written;
    this.awaitOwnVerdict();
    if (this.startEnded)
      throw new DrayError("DOCKER_ERROR", "docker start ended before the verdict; Docker has let go of the copy", {
        node: this.host.node,
        remedy: "See `journalctl -u docker` on that node: was Docker restarted? Then migrate again.",
      });
    return { dockerId, steps: [...this.times] };
  }

  /** Docker's start ends with the verdict; one that does not is left to the removal, which fails clearly. */
  private async startEnds(): Promise<void> {
    const limit = new AbortController();
    const late = pause(START_END_LIMIT_MS, limit.signal).catch(() => undefined);
    await Promise.race([this.startSettled?.catch(() => undefined), late]);
    limit.abort();
  }

  /** Waits for the gate, but not longer than Docker's start lasts. */
  private orFailedStart<T>(gate: Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      gate.then(resolve, reject);
      this.startSettled?.then(
        () =>
          reject(
            new DrayError(
              "DOCKER_ERROR",
              "docker start ended before the verdict; the runtime did not hold the container",
            ),
          ),
        reject,
      );
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  /** As `orFailedStart`, with what CRIU says if it was its restore that failed, or TIMEOUT after `deadlineMs`. */
  private async orFailedRestore<T>(
    session: RestoreSession,
    gate: Promise<T>,
    signal: AbortSignal,
    deadlineMs?: number,
  ): Promise<T> {
    const deadline = new AbortController();
    const late = () =>
      deadline.abort(
        new DrayError(
          "TIMEOUT",
          `CRIU has not restored ${this.entryNow.containerName} within ${Math.round(deadlineMs ?? 0)} ms`,
          {
            node: this.host.node,
            remedy: "See whether that node is overloaded, then migrate again.",
          },
        ),
      );
    const timer = deadlineMs === undefined ? undefined : setTimeout(late, deadlineMs);
    try {
      return await this.orFailedStart(gate, AbortSignal.any([signal, deadline.signal]));
    } catch (thrown) {
      throw await this.explainRestore(session, thrown);
    } finally {
      clearTimeout(timer);
    }
  }

  private async explainRestore(session: RestoreSession, thrown: unknown): Promise<DrayError> {
    const error = toDrayError(thrown, "CRIU_RESTORE_FAILED");
    // Not of CRIU's doing, whatever it had to say meanwhile.
    if (error.reason === "CANCELLED" || error.reason === "TIMEOUT") return error;
    const diagnosis = await session.restoreDiagnosis();
    if (diagnosis === null) return error;
    return new DrayError("CRIU_RESTORE_FAILED", `${diagnosis.meaning}: ${diagnosis.line}`, {
      remedy: diagnosis.remedy,
      node: this.host.node,
      cause: error,
    });
  }

  private activateOnce(): Promise<ActivateResponse> {
    this.activation ??= goFirst(() => this.runActivate()).catch((thrown: unknown) => {
      this.activation = undefined;
      throw thrown;
    });
    return this.activation;
  }

  /** Throws only what may pass: nobody else may be left to ask for it again. */
  private async activateUnlessLost(): Promise<void> {
    try {
      await this.activateOnce();
    } catch (thrown) {
      if (this.host.stopping.aborted || !COPY_IS_LOST.has(toDrayError(thrown).reason)) throw thrown;
      this.logger.error({ err: toDrayError(thrown) }, "the committed copy cannot be brought to life");
    }
  }

  private async runActivate(): Promise<ActivateResponse> {
    const { dockerId, migrationId, uuid, epoch, state, thawedAtMs } = this.entryNow;
    if ((state === "running" || state === "finished") && thawedAtMs !== null) return { thawedAtMs, steps: [] };
    if (state === "declining" || (state === "prepared" && !(await this.copyStands()))) {
      await this.decline();
      throw new DrayError(
        "NOT_OWNER",
        `the prepared copy of ${this.entryNow.containerName} had died before it was thawed`,
        {
          node: this.host.node,
          remedy: "The container was given back to its source. See why the copy died, then migrate again.",
        },
      );
    }
    const session = this.host.gate.session(dockerId);
    if (session === undefined) {
      throw new DrayError("NOT_OWNER", `the prepared copy of ${this.entryNow.containerName} is gone from this node`, {
        node: this.host.node,
        remedy: "The host was restarted between commit and thaw. The source still holds the frozen container.",
      });
    }
    const context = this.phaseContext();
    const before = context.times.length;
    await this.transition("activating");
    let thawed = thawedAtMs ?? 0;
    const ready = await this.preparedThaw;
    // It serves once; a second attempt does everything itself.
    this.preparedThaw = undefined;
    await runPhase(context, "thaw", async () => {
      if (ready === undefined) await unblockMac(migrationId);
      await session.commit({ lift: ready && (() => ready.lift()) });
      thawed = thawedAtMs ?? Date.now();
    });
    await faultPoint("destination.after-thaw");
    await Promise.all([this.announceEndpoints(ready), this.syncLayer()]);
    await runPhase(context, "confirm-running", () =>
      this.host.ownership.confirmRunning(uuid, epoch + 1, this.host.stopping),
    );
    await this.transition("running", { thawedAtMs: thawed });
    return { thawedAtMs: thawed, steps: this.times.slice(before) };
  }

  /** False if the copy, never thawed, is not there any more, or Docker's start of it is not. */
  private async copyStands(): Promise<boolean> {
    const state = this.host.gate.session(this.entryNow.dockerId)?.state;
    if (state === undefined || state.name === "armed" || state.name === "released" || state.name === "failed")
      return false;
    if (state.name !== "prepared") return true;
    const { cgroup, initPid, startClaim } = state.copy;
    // A copy that Docker has let go of would be cleaned up, or run without its output and address.
    if (this.startEnded || !(await claimantLives(startClaim))) return false;
    return (await cgroupPids(cgroup)).includes(initPid);
  }

  /** Never to be thawed here from now on, whoever asks: only then the source may be told. */
  private async decline(): Promise<void> {
    await this.transition("declining", { error: "the prepared copy died before it was thawed" });
    await this.host.ownership.giveBack(this.question, this.host.stopping);
    await this.abortOnce(this.entryNow.error);
  }

  /**
   * Once "running" is known the source's files are removed: what the container had on disk there must not be in the
   * page cache alone here. It runs meanwhile.
   */
  private async syncLayer(): Promise<void> {
    try {
      const directory = await layerDirectory(this.host.docker, this.entryNow.dockerId);
      await runCommand(["sync", "--file-system", directory], { deadlineMs: SYNC_DEADLINE_MS });
    } catch (thrown) {
      // A disk that is slow or broken is no reason to keep the source frozen for good.
      this.logger.warn({ err: toDrayError(thrown) }, "the writable layer may not be on disk yet");
    }
  }

  private async announceEndpoints(ready: PreparedThaw | undefined): Promise<void> {
    try {
      if (await ready?.announced()) return;
      const inspect = await this.host.docker.inspectContainer(this.entryNow.dockerId);
      await announce(inspect.State.Pid, await this.endpoints());
    } catch (thrown) {
      // The container runs; the neighbours learn at its next frame.
      this.logger.warn({ err: toDrayError(thrown) }, "the new place of the addresses was not announced");
    }
  }

  private abortOnce(reason: string): Promise<void> {
    this.aborting ??= this.runAbort(reason).catch((thrown: unknown) => {
      this.aborting = undefined;
      throw thrown;
    });
    return this.aborting;
  }

  private async runAbort(reason: string): Promise<void> {
    const { docker, gate, identities } = this.host;
    const { migrationId, state } = this.entryNow;
    if (state === "aborted") return this.settled.abort();
    await this.transition("aborting", { error: reason });
    await this.prepareRun?.cancel(new DrayError("CANCELLED", reason));
    await this.reserving?.catch(() => undefined);
    await this.authorisation?.revoke();
    (await this.preparedThaw)?.discard();
    const dockerId = this.entryNow.dockerId || (await findCopy(docker, migrationId)) || "";
    if (dockerId !== "") {
      await gate.session(dockerId)?.abort(reason);
      await this.startEnds();
      await docker.removeContainer(dockerId, { force: true, volumes: true, deadlineMs: REMOVE_DEADLINE_MS });
      await gate.disarm(dockerId);
      await identities.forget(dockerId);
    }
    await unblockMac(migrationId);
    await this.removeFiles();
    await this.transition("aborted");
    this.settled.abort();
  }

  /** What etcd says decides, with or without a leader. */
  private awaitOwnVerdict(): void {
    const signal = AbortSignal.any([this.host.stopping, this.settled.signal]);
    this.deciding = this.host.ownership
      .awaitVerdict(this.question, (verdict) => verdict.kind !== "open", signal)
      .then(async (verdict) => {
        if (verdict.kind === "committed") await this.persist(() => this.activateUnlessLost());
        else if (this.entryNow.state === "activating")
          this.logger.error({ verdict }, "the owner has changed since the commit; the copy stays as it is");
        else await this.persist(() => this.abort("etcd says that the migration was rolled back"));
      })
      .catch(complainUnless(signal, this.logger));
  }

  private async receiveImage(content: Readable): Promise<void> {
    await importImage(this.host.docker, content, this.imageIdentity());
    await this.ensureContainer();
  }

  private async receiveLayer(content: Readable): Promise<void> {
    const directory = await layerDirectory(this.host.docker, this.entryNow.dockerId);
    await applyLayer({ kind: "upper", directory }, content);
  }

  /** The root is mounted by now, so its upper directory must not be written behind the kernel's back. */
  private async receiveLayerRest(content: Readable): Promise<void> {
    const session = this.host.gate.session(this.entryNow.dockerId);
    if (session === undefined) throw this.outOfTurn("the rest of the layer");
    const { bundle } = await session.held;
    await applyLayer({ kind: "merged", directory: await bundleRoot(bundle) }, content);
  }

  /** One after the other: a Reserve that is repeated may meet the image that arrives. */
  private ensureContainer(): Promise<void> {
    return this.creating.run(() => this.createContainer());
  }

  private async createContainer(): Promise<void> {
    if (this.entryNow.dockerId !== "") return this.giveName();
    const dockerId = await createCopy(this.host, this.description, this.entryNow.migrationId, this.imageIdentity());
    await this.host.identities.adopt(dockerId, this.entryNow.uuid);
    await faultPoint("destination.before-journal-created");
    await this.transition(this.entryNow.state, { dockerId });
    await faultPoint("destination.after-journal-created");
    // Only now: until the journal knows it, it is found by its provisional name.
    await this.giveName();
  }

  private async giveName(): Promise<void> {
    const { docker } = this.host;
    const { dockerId } = this.entryNow;
    const { Name } = await docker.inspectContainer(dockerId);
    if (Name !== `/${this.description.name}`) await docker.renameContainer(dockerId, this.description.name);
  }

  private async endpoints(): Promise<Endpoint[]> {
    const { docker } = this.host;
    return endpointsOf(await docker.inspectContainer(this.entryNow.dockerId), await docker.listNetworks());
  }

  private imageIdentity(): ImageIdentity {
    const { imageDigest, imageDiffIds, imageTags } = this.description;
    return { configDigest: imageDigest, diffIds: imageDiffIds, tags: imageTags };
  }

  private get question(): Question {
    const { uuid, epoch, migrationId, peerNode } = this.entryNow;
    return { uuid, epoch, migrationId, source: peerNode };
  }

  private verdict() {
    return this.host.ownership.verdict(this.question);
  }

  private outOfTurn(what: string): DrayError {
    return new DrayError(
      "CANCELLED",
      `${what} does not fit state ${this.entryNow.state} of migration ${this.entryNow.migrationId}`,
      {
        node: this.host.node,
        remedy: "The agent was restarted, or the migration is being rolled back; migrate again.",
      },
    );
  }

  private get workDirectory(): string {
    return `${this.entryNow.imageDirectory}-work`;
  }

  private async removeFiles(): Promise<void> {
    await this.authorisation?.revoke();
    this.authorisation = undefined;
    const transit = transitOptionsOf(this.host.config);
    await removeTransitDirectory(transit, this.entryNow.migrationId);
    await removeTransitDirectory(transit, `${this.entryNow.migrationId}-work`);
  }

  private phaseContext(): PhaseContext {
    const { host, logger, times } = this;
    return { migrationId: this.entryNow.migrationId, node: host.node, logger, metrics: host.metrics, times };
  }

  /** One after the other. Refused once the way back has been taken: what was under way then must not undo it. */
  private transition(state: DestinationState, patch: Partial<DestinationEntry> = {}): Promise<void> {
    return this.writing.run(async () => {
      if (!mayFollow(DESTINATION_TRANSITIONS, this.entryNow.state, state)) throw this.outOfTurn(state);
      const next: DestinationEntry = { ...this.entryNow, ...patch, state, atMs: Date.now() };
      await faultPoint(`destination.before-journal-${state}`);
      await this.host.journal.write(next);
      if (isEnded(next) && !isEnded(this.entryNow)) this.host.metrics.migrationsInProgress.dec({ role: "destination" });
      this.entryNow = next;
      await faultPoint(`destination.after-journal-${state}`);
    });
  }
}

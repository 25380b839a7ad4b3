/**
 * The source's side of a migration.
 *
 *   syncing ──► synced ──► switching ──► sent ──────► finishing ──► finished
 *      │           │           │           │   verdict: committed and running
 *      └───────────┴───────────┴───────────┴──► aborting ──► aborted
 *                                   own transaction, or nothing entered
 *
 * From `switching` on the container is locked, then frozen; it runs again only
 * after this agent's own transaction on the owner key. In `sent` it stays
 * frozen until etcd says who owns it, however long that takes and whichever
 * process of the agent is asked.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { SwitchResult, SyncRequest, SyncResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { PhaseTime } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { migrationLogger } from "@drayage/shared/observe/logger.ts";
import { connectTransfer } from "@drayage/shared/page-stream/transfer-client.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { freezeCgroup, killCgroup, thawCgroup } from "../host/cgroup.ts";
import { goFirst } from "../host/go-first.ts";
import { residentBytes } from "../host/resident-memory.ts";
import { runcContainer } from "../host/runc-state.ts";
import { endTransientUnit, stopTransientUnit } from "../host/transient-unit.ts";
import { exportImage } from "../image/image-transfer.ts";
import { isEnded, type SourceEntry, type SourceState } from "../journal/entry.ts";
import { diffLayer, EMPTY_MANIFEST, layerDirectory, packLayer, scanLayer } from "../layer/layer.ts";
import type { LayerManifest } from "../layer/types.ts";
import { unblockMac } from "../network-lock/mac-block.ts";
import { unlock } from "../network-lock/source-lock.ts";
import type { AgentHost } from "./agent-host.ts";
import { restartPolicyOf, STARTS_WITH_DOCKER } from "../docker/restart-policy.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { endpointsOf, macsByParent } from "./endpoints.ts";
import { JoinableRun, type Report } from "./joinable-run.ts";
import { pause, type Question } from "./ownership.ts";
import { type PhaseContext, runPhase } from "./run-phase.ts";
import { FREEZE_DEADLINE_MS, runSwitchSteps, type SwitchTarget } from "./source-switch.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";
import {
  makeTransitDirectory,
  removeTransitDirectory,
  type TransitOptions,
  transitOptionsOf,
} from "./transit-directory.ts";

const UNDO_DEADLINE_MS = 30_000;
const PERSIST_MS = 2_000;
/** CRIU ended in the middle of a dump costs connections; one that has lost its agent ends by itself. */
const DUMP_PATIENCE_MS = 60_000;
/** Where only a person can find out, who is to find more than this in the log. */
const PERSIST_UNKNOWN_MS = 60_000;
/**
 * In `sent` without a verdict for so long, the source makes its own: by then
 * a leader would have committed or rolled back, so there is none.
 */
const VERDICT_LIMIT_MS = 120_000;

export class SourceMigration {
  private readonly host: AgentHost;
  private readonly logger: Logger;
  private readonly times: PhaseTime[] = [];
  private entryNow: SourceEntry;
  private connection: TransferConnection | undefined;
  private baseline: LayerManifest = EMPTY_MANIFEST;
  private syncRun: JoinableRun<SyncResult> | undefined;
  private switchRun: JoinableRun<SwitchResult> | undefined;
  private ending: Promise<unknown> | undefined;
  /** The way back has been asked for: an order that was overtaken by that must not begin anything. */
  private isCalledOff = false;
  /** Freezing anew after a restart of the agent: a revival must not be overtaken by it. */
  private refreezing: Promise<unknown> = Promise.resolve();
  /** Ends the wait for a verdict when an order has brought one. */
  private readonly settled = new AbortController();

  private constructor(host: AgentHost, entry: SourceEntry) {
    this.host = host;
    this.entryNow = entry;
    this.logger = migrationLogger(host.logger, entry.migrationId, "source");
  }

  /** Journals the intent; nothing of the container has been touched. */
  static async begin(host: AgentHost, request: SyncRequest): Promise<SourceMigration> {
    const inspect = await host.docker.inspectContainer(request.dockerId);
    const entry: SourceEntry = {
      role: "source",
      state: "syncing",
      migrationId: request.order?.migrationId ?? "",
      uuid: request.uuid,
      containerName: inspect.Name.replace(/^\//, ""),
      epoch: request.epoch,
      peerNode: request.destinationNode,
      atMs: Date.now(),
      error: "",
      dockerId: request.dockerId,
      frozen: null,
    };
    await faultPoint("source.before-journal-syncing");
    await host.journal.write(entry);
    await faultPoint("source.after-journal-syncing");
    const migration = new SourceMigration(host, entry);
    migration.followClosing();
    return migration;
  }

  /** Takes up what an earlier process of the agent left; `recover` says what follows. */
  static resume(host: AgentHost, entry: SourceEntry): SourceMigration {
    return new SourceMigration(host, entry);
  }

  get entry(): SourceEntry {
    return this.entryNow;
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
  switch(): JoinableRun<SwitchResult> {
    this.switchRun ??= new JoinableRun(async (report, signal) => {
      if (this.isCalledOff || this.entryNow.state !== "synced" || this.connection === undefined) {
        throw new DrayError("CANCELLED", `the source is in state ${this.entryNow.state}, not ready for a switch`, {
          remedy: "The agent was restarted, or the migration is being rolled back; migrate again.",
        });
      }
      try {
        const result = await this.runSwitch(this.connection, report, signal);
        this.awaitOwnVerdict();
        return result;
      } catch (thrown) {
        const error = toDrayError(thrown);
        // No need to wait for the leader's order: every further moment is downtime.
        this.persist(async () => void (await this.abort(error.message))).catch((failure: unknown) =>
          this.complain(this.host.stopping, failure),
        );
        throw error;
      }
    });
    return this.switchRun;
  }

  /**
   * Ends the migration after the copy's "running" is durable: kills the frozen
   * container behind its lock. Idempotent. NOT_OWNER while etcd says otherwise.
   */
  async finish(): Promise<string[]> {
    if (this.entryNow.state === "finished") return [];
    const verdict = await this.verdict();
    if (verdict.kind !== "committed" || !verdict.running) {
      throw new DrayError(
        "NOT_OWNER",
        `the copy of ${this.entryNow.containerName} does not run yet by what etcd says (${verdict.kind})`,
      );
    }
    await this.endOnce(() => this.runFinish());
    return [];
  }

  /**
   * Back to before the migration. Resolves with whether the container runs
   * here; it does not if the commit had won. Idempotent.
   */
  async abort(reason: string): Promise<{ sourceRunning: boolean; epoch: number }> {
    if (this.entryNow.state === "finished") return { sourceRunning: false, epoch: this.entryNow.epoch + 1 };
    this.isCalledOff = true;
    const cancelled = new DrayError("CANCELLED", reason);
    await this.syncRun?.cancel(cancelled);
    await this.switchRun?.cancel(cancelled);
    const { epoch } = this.entryNow;
    await faultPoint("source.before-own-transaction");
    const verdict = await this.host.ownership.abortAsSource(this.question, this.host.stopping);
    await faultPoint("source.after-own-transaction");
    switch (verdict.kind) {
      case "committed":
        return { sourceRunning: false, epoch: verdict.epoch };
      case "superseded":
        throw new DrayError(
          "OUTCOME_UNKNOWN",
          `the owner of ${this.entryNow.containerName} is at epoch ${verdict.epoch}, far from ${epoch}`,
          {
            remedy:
              "The container stays frozen here. Compare the owner in etcd with what runs, then remove the wrong copy by hand.",
          },
        );
      case "open":
        // The switch had been entered in etcd before anything was sent, so etcd has lost data: the copy may run.
        if (this.entryNow.state === "sent" || this.entryNow.state === "finishing") {
          throw new DrayError("OUTCOME_UNKNOWN", `etcd knows nothing of the switch of ${this.entryNow.containerName}`, {
            node: this.host.node,
            remedy: `etcd was emptied or restored from a backup. The container stays frozen here; see whether its copy runs on ${this.entryNow.peerNode} before you remove either.`,
          });
        }
        if (this.entryNow.state !== "aborted") await this.endOnce(() => this.revive(reason));
        return { sourceRunning: await this.isRunning(), epoch };
      case "aborted":
        if (this.entryNow.state !== "aborted") await this.endOnce(() => this.revive(reason));
        return { sourceRunning: await this.isRunning(), epoch: verdict.epoch };
    }
  }

  /** After a restart of the agent: what was half done is undone, what was sent waits for its verdict. */
  async recover(): Promise<void> {
    switch (this.entryNow.state) {
      case "finished":
      case "aborted":
        return;
      case "sent":
      case "finishing":
        this.refreezing = this.persist(() => this.ensureFrozen());
        await this.refreezing;
        this.awaitOwnVerdict();
        return;
      default:
        await this.persist(async () => {
          await this.abort("the agent was restarted in the middle");
        });
    }
  }

  /**
   * Before anything is frozen no key of etcd tells this node that the
   * migration is over, except that the leader has let go of the container.
   */
  private followClosing(): void {
    const signal = AbortSignal.any([this.host.stopping, this.settled.signal]);
    this.host.ownership
      .awaitClosed(this.question, signal)
      .then(async () => {
        const { state } = this.entryNow;
        if (state !== "syncing" && state !== "synced") return;
        await this.persist(async () => {
          await this.abort("the coordinator has ended the migration");
        });
      })
      .catch((thrown: unknown) => this.complain(signal, thrown));
  }

  /** Tries until it works: nobody else may be left to ask for it. */
  private async persist(body: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await body();
      } catch (thrown) {
        if (this.host.stopping.aborted) throw thrown;
        const error = toDrayError(thrown);
        this.logger.error({ err: error }, "the migration could not be ended, trying again");
        await pause(error.reason === "OUTCOME_UNKNOWN" ? PERSIST_UNKNOWN_MS : PERSIST_MS, this.host.stopping);
      }
    }
  }

  private complain(signal: AbortSignal, thrown: unknown): void {
    if (!signal.aborted) this.logger.error({ err: toDrayError(thrown) }, "the migration could not be ended");
  }

  private async runSync(request: SyncRequest, report: Report, signal: AbortSignal): Promise<SyncResult> {
    const { dockerId, migrationId, peerNode, state } = this.entryNow;
    if (this.isCalledOff || state !== "syncing")
      throw new DrayError("CANCELLED", `the source is ${state}, too late for a sync`, { node: this.host.node });
    this.connection = await connectTransfer({
      identity: this.host.identity,
      addresses: request.pageAddresses,
      peerName: peerNode,
      token: request.transferToken,
      migrationId,
      signal: AbortSignal.any([this.host.stopping, signal]),
      ...(request.bandwidthBytesPerSecond > 0 ? { bandwidthLimitBytesPerSecond: request.bandwidthBytesPerSecond } : {}),
    });
    const connection = this.connection;
    const context = this.phaseContext();
    let image = { bytes: 0, wireBytes: 0 };
    if (request.sendImage) {
      image = await runPhase(context, "send-image", async () => {
        const inspect = await this.host.docker.inspectContainer(dockerId, { signal });
        const stream = await exportImage(this.host.docker, inspect.Image, signal);
        const wireBytesBefore = connection.wireBytes;
        const { bytes } = await connection.send({ kind: TRANSFER_KINDS.image, name: "image" }, stream, {
          signal,
          onProgress: (doneBytes) => report({ step: "send-image", doneBytes, totalBytes: 0, message: "" }),
        });
        return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
      });
    }
    const layer = await runPhase(context, "send-layer", async () => {
      const directory = await layerDirectory(this.host.docker, dockerId, signal);
      const manifest = await scanLayer(directory, signal);
      const difference = diffLayer(EMPTY_MANIFEST, manifest);
      const wireBytesBefore = connection.wireBytes;
      const { bytes } = await connection.send(
        { kind: TRANSFER_KINDS.layer, name: "layer" },
        packLayer(directory, difference, { live: true, signal }),
        {
          signal,
          onProgress: (doneBytes) =>
            report({ step: "send-layer", doneBytes, totalBytes: difference.changedBytes, message: "" }),
        },
      );
      this.baseline = manifest;
      return { bytes, wireBytes: connection.wireBytes - wireBytesBefore };
    });
    const { transferBytesTotal, transferWireBytesTotal } = this.host.metrics;
    transferBytesTotal.inc({ direction: "sent", kind: "image" }, image.bytes);
    transferBytesTotal.inc({ direction: "sent", kind: "layer" }, layer.bytes);
    transferWireBytesTotal.inc({ direction: "sent" }, connection.wireBytes);
    await this.transition("synced");
    return { imageBytes: image.wireBytes, layerBytes: layer.wireBytes };
  }

  private async runSwitch(connection: TransferConnection, report: Report, signal: AbortSignal): Promise<SwitchResult> {
    const { docker } = this.host;
    const { dockerId, migrationId } = this.entryNow;
    const inspect = await docker.inspectContainer(dockerId, { signal });
    if (!inspect.State.Running || inspect.State.Paused) {
      throw new DrayError(
        "PREFLIGHT",
        `container ${this.entryNow.containerName} is ${inspect.State.Status}, not running`,
        {
          node: this.host.node,
        },
      );
    }
    const pid = inspect.State.Pid;
    const cgroup = await this.cgroup();
    const parents = macsByParent(endpointsOf(inspect, await docker.listNetworks({ signal })));
    const imageDirectory = await makeTransitDirectory(
      this.transit,
      `${migrationId}-source`,
      await residentBytes(cgroup),
    );
    const layer = await layerDirectory(docker, dockerId, signal);
    await this.transition("switching", {
      frozen: {
        pid,
        macs: [...parents.values()].flat(),
        restartPolicy: restartPolicyOf(inspect),
        lockedAtMs: Date.now(),
      },
    });
    const context = this.phaseContext();
    await runPhase(context, "restart-policy-off", () =>
      // Not by the signal: set late, it would undo the policy that the way back has set.
      docker.updateRestartPolicy(dockerId, { Name: "no" }),
    );
    const target: SwitchTarget = {
      dockerId,
      migrationId,
      pid,
      cgroup,
      parents,
      layer,
      baseline: this.baseline,
      imageDirectory,
      workDirectory: `${imageDirectory}-work`,
    };
    const outcome = await goFirst(() => runSwitchSteps(this.host, target, connection, context, report, signal));
    const { transferBytesTotal, transferWireBytesTotal, checkpointSizeBytes } = this.host.metrics;
    transferBytesTotal.inc({ direction: "sent", kind: "pages" }, outcome.memoryBytes);
    transferWireBytesTotal.inc({ direction: "sent" }, outcome.wireBytes);
    checkpointSizeBytes.observe(outcome.memoryBytes);
    await this.transition("sent");
    return { ...outcome, steps: [...context.times] };
  }

  private async runFinish(): Promise<void> {
    const { docker, identities } = this.host;
    const { dockerId, migrationId } = this.entryNow;
    await this.transition("finishing");
    const context = this.phaseContext();
    await runPhase(context, "kill-source", async () => {
      await stopTransientUnit(dumpUnit(migrationId));
      await this.killTasks();
      // The drop rules die with the namespace, after the sockets.
      await docker.removeContainer(dockerId, { force: true, deadlineMs: UNDO_DEADLINE_MS });
    });
    await runPhase(context, "clean-source", async () => {
      await unblockMac(migrationId);
      await this.removeFiles();
      await identities.forget(dockerId);
    });
    await this.transition("finished");
  }

  /** All at once, while frozen: Docker kills the init alone and thaws, and of cgroup v1 the others would run on for a moment. */
  private async killTasks(): Promise<void> {
    if (await this.isRunning()) await killCgroup(await this.cgroup(), { deadlineMs: FREEZE_DEADLINE_MS });
  }

  /** Everything undone, in the order that lets no packet be lost: thaw last. */
  private async revive(reason: string): Promise<void> {
    const { docker } = this.host;
    const { dockerId, migrationId, frozen } = this.entryNow;
    await this.transition("aborting", { error: reason });
    await this.refreezing.catch(() => undefined);
    const context = this.phaseContext();
    if (frozen !== null) {
      await runPhase(context, "revive", async () => {
        await endTransientUnit(dumpUnit(migrationId), DUMP_PATIENCE_MS);
        const inspect = await this.inspect();
        if (inspect?.State.Running) {
          await unlock({ pid: inspect.State.Pid, migrationId });
          await unblockMac(migrationId);
          // runc resumes only what is frozen, and pauses only what is not. After a crash the freezer may have been
          // shut behind Docker's back, or opened by a CRIU that was stopped in the middle.
          const cgroup = await this.cgroup();
          if (inspect.State.Paused) {
            await freezeCgroup(cgroup, { deadlineMs: FREEZE_DEADLINE_MS });
            await docker.unpauseContainer(dockerId);
          } else await thawCgroup(cgroup, { deadlineMs: FREEZE_DEADLINE_MS });
        } else {
          await unblockMac(migrationId);
        }
        if (inspect === null) return;
        await docker.updateRestartPolicy(dockerId, frozen.restartPolicy);
        // It died with its host while the policy was off: what Docker would have done at its start is still to do.
        if (!inspect.State.Running && STARTS_WITH_DOCKER.has(frozen.restartPolicy.Name))
          await docker.startContainer(dockerId);
      });
    }
    await this.removeFiles();
    await this.transition("aborted");
    this.host.metrics.rollbacksTotal.inc({ outcome: "rolled_back" });
  }

  /** CRIU thaws while it dumps; after a crash of its caller nobody may have frozen again. */
  private async ensureFrozen(): Promise<void> {
    const mayFreeze = () => this.entryNow.state === "sent" || this.entryNow.state === "finishing";
    if (!mayFreeze()) return;
    const inspect = await this.inspect();
    if (inspect?.State.Running && mayFreeze())
      await freezeCgroup(await this.cgroup(), { deadlineMs: FREEZE_DEADLINE_MS });
  }

  /** The container's, whatever cgroups its processes have made below: a nested one that is frozen stays so when Docker thaws. */
  private async cgroup(): Promise<string> {
    const { dockerId, containerName } = this.entryNow;
    const container = await runcContainer(this.host.config.runcRoot, dockerId);
    if (container === null) throw new DrayError("NOT_FOUND", `runc knows nothing of ${containerName}`);
    return container.cgroup;
  }

  /** Null if somebody has removed the container. */
  private async inspect(): Promise<ContainerInspect | null> {
    try {
      return await this.host.docker.inspectContainer(this.entryNow.dockerId);
    } catch (thrown) {
      if (toDrayError(thrown).reason === "NOT_FOUND") return null;
      throw thrown;
    }
  }

  private async isRunning(): Promise<boolean> {
    return (await this.inspect())?.State.Running ?? false;
  }

  /** In `sent`: what etcd says decides, with or without a leader. */
  private awaitOwnVerdict(): void {
    const limit = AbortSignal.timeout(VERDICT_LIMIT_MS);
    const signal = AbortSignal.any([this.host.stopping, this.settled.signal, limit]);
    this.host.ownership
      .awaitVerdict(
        this.question,
        (verdict) => verdict.kind !== "open" && (verdict.kind !== "committed" || verdict.running),
        signal,
      )
      .then(
        (verdict) =>
          this.persist(async () => {
            if (verdict.kind === "committed") await this.finish();
            else await this.abort("etcd says that the migration was rolled back");
          }),
        async (thrown: unknown) => {
          if (!limit.aborted || this.settled.signal.aborted || this.host.stopping.aborted) throw thrown;
          this.logger.warn({ err: toDrayError(thrown) }, "no verdict in time: asking for this node's own");
          await this.persist(async () => {
            await this.abort("no coordinator decided in time");
          });
          if (this.entryNow.state === "sent") this.awaitOwnVerdict();
        },
      )
      .catch((thrown: unknown) => this.complain(signal, thrown));
  }

  /** Ends (finish or revive) happen once, whoever asks; a failed one may be tried again. */
  private endOnce(body: () => Promise<void>): Promise<unknown> {
    if (this.ending === undefined) {
      this.ending = body().then(
        () => this.settled.abort(),
        (thrown: unknown) => {
          this.ending = undefined;
          throw thrown;
        },
      );
    }
    return this.ending;
  }

  private get question(): Question {
    const { uuid, epoch, migrationId } = this.entryNow;
    return { uuid, epoch, migrationId, source: this.host.node };
  }

  private verdict() {
    return this.host.ownership.verdict(this.question);
  }

  private async removeFiles(): Promise<void> {
    await this.connection
      ?.close()
      .catch((thrown: unknown) => this.logger.debug({ err: thrown }, "closing the transfer"));
    this.connection = undefined;
    // It may name hundreds of thousands of files, and this object stays for questions asked late.
    this.baseline = EMPTY_MANIFEST;
    const { migrationId } = this.entryNow;
    await removeTransitDirectory(this.transit, `${migrationId}-source`);
    await removeTransitDirectory(this.transit, `${migrationId}-source-work`);
  }

  private get transit(): TransitOptions {
    return transitOptionsOf(this.host.config);
  }

  private phaseContext(): PhaseContext {
    return {
      migrationId: this.entryNow.migrationId,
      node: this.host.node,
      logger: this.logger,
      metrics: this.host.metrics,
      times: this.times,
    };
  }

  private async transition(state: SourceState, patch: Partial<SourceEntry> = {}): Promise<void> {
    const next: SourceEntry = { ...this.entryNow, ...patch, state, atMs: Date.now() };
    await faultPoint(`source.before-journal-${state}`);
    await this.host.journal.write(next);
    if (isEnded(next) && !isEnded(this.entryNow)) this.host.metrics.migrationsInProgress.dec({ role: "source" });
    this.entryNow = next;
    await faultPoint(`source.after-journal-${state}`);
  }
}

/** The transient unit in which dumpContainer runs. */
function dumpUnit(migrationId: string): string {
  return `drayage-dump-${migrationId}`;
}

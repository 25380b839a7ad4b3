/**
 * From `reserved` to `prepared`: Docker starts the container into the gate,
 * the images arrive, CRIU restores, and a verified frozen copy stands.
 */
import { memoryLimitBytes } from "@drayage/shared/docker/memory-limit.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { type PrepareResult, SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { goFirst } from "../host/go-first.ts";
import { destinationFiles } from "../network-lock/destination-files.ts";
import { blockMac } from "../network-lock/mac-block.ts";
import type { PageFetch } from "../post-copy/page-fetch.ts";
import type { RestoreSession } from "../runtime-gate/runtime-gate.ts";
import { takenFrom } from "../tmpfs/external-mount.ts";
import { withKeptLog } from "./criu-failure.ts";
import type { DestinationContainer } from "./destination-container.ts";
import type { DestinationContext } from "./destination-record.ts";
import type { Reservation } from "./destination-reserve.ts";
import { type Endpoint, macsByParent } from "./endpoints.ts";
import type { HeldStart } from "./held-start.ts";
import type { IncomingTransfer } from "./incoming-transfer.ts";
import { JoinableRun, type Report } from "./joinable-run.ts";
import { shouldPlaceLater } from "./place-later.ts";
import type { ThawInReserve } from "./prepared-thaw.ts";
import { lastRound, narrowRounds } from "./round-directories.ts";
import { runPhase } from "./run-phase.ts";

/** How long `create` waits for this agent, and the restore for its images and pages. */
const HOLD_DEADLINE_MS = 30 * 60_000;
/** From the release to where runc needs CRIU: tens of milliseconds of work. */
const RUNC_READY_MS = 60_000;
const RESTORE_BASE_MS = 60_000;
/** Twenty megabytes a second: a disk that swaps. */
const RESTORE_SLOWEST_BYTES_PER_MS = 20_000;

/** From the last page to the prepared copy: a CRIU that spins must not keep the source frozen for good. */
function restoreDeadlineMs(imageBytes: number): number {
  return RESTORE_BASE_MS + imageBytes / RESTORE_SLOWEST_BYTES_PER_MS;
}

/**
 * Whose address may be another one here cannot keep a connection, and CRIU could not restore it: the container is told
 * of its end at once. Those of a container that has other networks, too, are worth trying.
 */
function connectionsOf(endpoints: readonly Endpoint[]): string[] {
  const isLost = endpoints.length > 0 && endpoints.every(({ driver }) => driver === "bridge");
  return isLost ? ["tcp-close"] : [];
}

interface Limit {
  readonly deadlineMs: number;
  /** What has not happened then, of the container whose name follows. */
  readonly what: string;
}

export interface PreparationParts {
  readonly container: Pick<DestinationContainer, "endpoints">;
  readonly transfer: Pick<
    IncomingTransfer,
    "complete" | "restorable" | "imageBytes" | "repeatedShare" | "imagesInRounds"
  >;
  readonly reservation: Pick<Reservation, "transferToken" | "tmpfs">;
  readonly fetch: Pick<PageFetch, "start" | "expect" | "takeFromImages" | "restored">;
  readonly start: HeldStart;
  readonly thaw: Pick<ThawInReserve, "prepare">;
  /** Called when `prepared` is durable. */
  readonly onPrepared: () => void;
}

export class Preparation {
  readonly #context: DestinationContext;
  readonly #parts: PreparationParts;
  #run: JoinableRun<PrepareResult> | undefined;
  #narrowing: Promise<void> | undefined;

  constructor(context: DestinationContext, parts: PreparationParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Begins, or joins what has begun. Reports the step "held" when the source may switch. On failure nothing of the copy runs. */
  join(postCopy: boolean): JoinableRun<PrepareResult> {
    this.#run ??= new JoinableRun((report, signal) => this.#prepare(postCopy, report, signal));
    return this.#run;
  }

  /** Resolves when nothing of it is under way any more. */
  async cancel(reason: Error): Promise<void> {
    await this.#run?.cancel(reason);
    // It may be making directories still, which whoever cancels is to remove.
    await this.#narrowing?.catch(() => undefined);
  }

  async #prepare(postCopy: boolean, report: Report, signal: AbortSignal): Promise<PrepareResult> {
    const { host, record, phases } = this.#context;
    const { container, transfer, reservation, start, thaw, onPrepared } = this.#parts;
    const { dockerId, migrationId, imageDirectory, state } = record.entry;
    if (state === "prepared") return { dockerId, steps: phases.times };
    if (state !== "reserved" || dockerId === "") throw record.outOfTurn("Prepare");
    const step = (name: string) => report({ step: name, doneBytes: 0, totalBytes: 0, message: "" });
    const endpoints = await container.endpoints();
    const { memoryBytes, inspectJson } = SourceDescription.fromJSON(JSON.parse(record.entry.descriptionJson));
    const hadRounds = (await lastRound(imageDirectory)) !== null;
    const later = await shouldPlaceLater(host.hostFacts, {
      postCopy,
      hadRounds,
      memoryBytes,
      limitBytes: memoryLimitBytes(inspectJson),
      repeatedShare: transfer.repeatedShare,
    });
    await record.transition("holding", {
      macs: endpoints.map(({ mac }) => mac),
      postCopy: postCopy ? { transferToken: reservation.transferToken } : null,
      placesLater: later,
    });
    const session = await runPhase(phases, "hold-create", () => this.#hold(postCopy || later, endpoints, signal));
    step("held");
    await goFirst(async () => {
      const received = runPhase(phases, "receive-images", () => start.whileHeld(transfer.complete, signal));
      // Awaited below, when the restore has got as far as it can without them.
      received.catch(() => undefined);
      // Before a lazy restore CRIU looks for the fault server first of all, and that must know what is missing.
      const isLazy = postCopy || later;
      const ready = isLazy ? received.then(() => this.#expectFaults()) : transfer.restorable;
      await this.#orFailedRestore(session, ready, signal);
      step("restore");
      await faultPoint("destination.before-restore");
      await runPhase(phases, "restore", () => this.#restore(session, received, signal));
    });
    await faultPoint("destination.after-restore");
    host.metrics.transferBytesTotal.inc({ direction: "received", kind: "pages" }, transfer.imageBytes);
    const { initPid } = await session.prepared;
    const written = record.transition("prepared");
    thaw.prepare({ migrationId, initPid, endpoints, imageDirectory });
    await written;
    onPrepared();
    if (start.hasEnded)
      throw new DrayError("DOCKER_ERROR", "docker start ended before the verdict; Docker has let go of the copy", {
        node: host.node,
        remedy: "See `journalctl -u docker` on that node: was Docker restarted? Then migrate again.",
      });
    return { dockerId, steps: [...phases.times] };
  }

  /** Behind its lock from the first moment, Docker's start of it waits in the gate. */
  async #hold(lazyPages: boolean, endpoints: readonly Endpoint[], signal: AbortSignal): Promise<RestoreSession> {
    const { docker, gate } = this.#context.host;
    const { dockerId, migrationId } = this.#context.record.entry;
    for (const [parent, macs] of macsByParent(endpoints)) await blockMac({ migrationId, parent, macs }, signal);
    const network = destinationFiles(migrationId, endpoints);
    const armed = await gate.arm({ dockerId, migrationId, deadlineMs: HOLD_DEADLINE_MS, network });
    signal.throwIfAborted();
    this.#parts.start.begin(docker.startContainer(dockerId));
    await this.#parts.start.whileHeld(armed.held, signal);
    const { imageDirectory } = this.#context.record.entry;
    // What runc does before it needs CRIU it does while the container still runs on its source.
    await armed.release({
      imageDirectory,
      workDirectory: `${imageDirectory}-work`,
      criuOptions: [...connectionsOf(endpoints), ...takenFrom(this.#parts.reservation.tmpfs)],
      lazyPages,
    });
    if (lazyPages) await this.#startFaultServer(armed, signal);
    // Not by the way: what runc cannot do here is to be known before anything stands still, and it mounts volumes into
    // the copy's root for a moment, in which the rest of the layer must not be written there.
    await this.#orFailedRestore(armed, armed.runcReady(signal), signal, {
      deadlineMs: RUNC_READY_MS,
      what: "runc was not ready to restore",
    });
    return armed;
  }

  /** Waits for CRIU, and for the memory of a copy that is not there yet. */
  async #startFaultServer(session: RestoreSession, signal: AbortSignal): Promise<void> {
    const { state } = session;
    if (state.name !== "released") throw this.#context.record.outOfTurn("a fault server");
    const { workDirectory, cgroup } = state.restore;
    await this.#parts.fetch.start({ workDirectory, cgroup }, signal);
  }

  /** Begins while memory is still on its way: CRIU's preparations need none. */
  async #restore(session: RestoreSession, received: Promise<void>, signal: AbortSignal): Promise<void> {
    const { postCopy, placesLater } = this.#context.record.entry;
    await session.imagesComplete();
    await this.#orFailedRestore(session, received, signal);
    await faultPoint("destination.before-pages-complete");
    await session.pagesComplete();
    const deadlineMs = restoreDeadlineMs(this.#parts.transfer.imageBytes);
    const limit = { deadlineMs, what: "CRIU has not restored" };
    const isLazy = postCopy !== null || placesLater;
    // Together: a restore whose fault server was killed stands frozen, and would never end.
    const restored = Promise.all([session.prepared, ...(isLazy ? [this.#parts.fetch.restored()] : [])]);
    await this.#orFailedRestore(session, restored, signal, limit);
  }

  /** All images are here. What is taken from them CRIU may want itself, before the copy runs. */
  async #expectFaults(): Promise<void> {
    const { fetch, transfer } = this.#parts;
    const { imageDirectory, placesLater } = this.#context.record.entry;
    await runPhase(this.#context.phases, "expect-faults", async () => {
      // Of what the copy fetches nothing is looked for in the rounds.
      if (!placesLater) this.#narrowing = narrowRounds(imageDirectory, transfer.imagesInRounds);
      await this.#narrowing;
      await fetch.expect(imageDirectory, placesLater);
    });
    if (placesLater) void fetch.takeFromImages(imageDirectory);
  }

  /** Waits while the start is held; says what CRIU says if it was its restore that failed, or TIMEOUT after the limit. */
  async #orFailedRestore<T>(session: RestoreSession, gate: Promise<T>, signal: AbortSignal, limit?: Limit): Promise<T> {
    const deadline = new AbortController();
    const timer = limit && setTimeout(() => deadline.abort(this.#timeout(limit)), limit.deadlineMs);
    try {
      return await this.#parts.start.whileHeld(gate, AbortSignal.any([signal, deadline.signal]));
    } catch (thrown) {
      throw await this.#explainRestore(session, thrown);
    } finally {
      clearTimeout(timer);
    }
  }

  #timeout({ deadlineMs, what }: Limit): DrayError {
    const { host, record } = this.#context;
    return new DrayError("TIMEOUT", `${what} ${record.entry.containerName} within ${Math.round(deadlineMs)} ms`, {
      node: host.node,
      remedy: "See whether that node is overloaded, then migrate again.",
    });
  }

  async #explainRestore(session: RestoreSession, thrown: unknown): Promise<DrayError> {
    const error = toDrayError(thrown, "CRIU_RESTORE_FAILED");
    // Not of CRIU's doing, whatever it had to say meanwhile.
    if (error.reason === "CANCELLED" || error.reason === "TIMEOUT") return error;
    const diagnosis = await session.restoreDiagnosis();
    if (diagnosis === null) return error;
    const { host, record } = this.#context;
    const explained = new DrayError("CRIU_RESTORE_FAILED", `${diagnosis.meaning}: ${diagnosis.line}`, {
      remedy: diagnosis.remedy,
      node: host.node,
      cause: error,
    });
    const { migrationId, imageDirectory } = record.entry;
    return withKeptLog(host, explained, {
      logPath: `${imageDirectory}-work/restore.log`,
      name: `${migrationId}-restore`,
    });
  }
}

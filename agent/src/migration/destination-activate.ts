/**
 * From `prepared`, once etcd has committed: thaw, make "running" durable; or,
 * if the copy has died before it was thawed, give the container back.
 */
import { Once } from "@drayage/shared/concurrency/once.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { ActivateResponse, FetchResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { isBeingStarted } from "../docker/start-under-way.ts";
import { bootClockMs } from "../host/boot-clock.ts";
import { goFirst } from "../host/go-first.ts";
import { runCommand } from "../host/run-command.ts";
import { layerDirectory } from "../layer/layer.ts";
import { announce } from "../network-lock/announce.ts";
import { unblockMac } from "../network-lock/mac-block.ts";
import type { DestinationState } from "../journal/entry.ts";
import type { PageFetch } from "../post-copy/page-fetch.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { DestinationContainer } from "./destination-container.ts";
import type { DestinationEnding } from "./destination-end.ts";
import type { DestinationContext } from "./destination-record.ts";
import type { HeldStart } from "./held-start.ts";
import { JoinableRun, type Report } from "./joinable-run.ts";
import type { PreparedThaw, ThawInReserve } from "./prepared-thaw.ts";
import { runPhase } from "./run-phase.ts";

const PROGRESS_MS = 200;
/** States in which the copy has been thawed, for good. */
export const HAS_RUN: ReadonlySet<DestinationState> = new Set(["fetching", "running", "finished"]);

/** Less than the leader waits for an answer to Activate. */
const SYNC_DEADLINE_MS = 30_000;

export interface ActivationParts {
  readonly container: Pick<DestinationContainer, "endpoints">;
  readonly start: Pick<HeldStart, "hasEnded" | "wasCalled">;
  readonly thaw: Pick<ThawInReserve, "take">;
  readonly ending: Pick<DestinationEnding, "abort">;
  readonly fetch: Pick<PageFetch, "begin" | "complete" | "loss" | "progress" | "standing">;
}

export class Activation {
  readonly #context: DestinationContext;
  readonly #parts: ActivationParts;
  readonly #once = new Once<ActivateResponse>();
  #fetchRun: JoinableRun<FetchResult> | undefined;

  constructor(context: DestinationContext, parts: ActivationParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Only after the owner key was seen to name this node. Idempotent.
   *
   * Postconditions: on success the copy runs and etcd says so, state
   * `running`. NOT_OWNER if it never will here.
   */
  activate(): Promise<ActivateResponse> {
    return this.#once.run(() => goFirst(() => this.#activate()));
  }

  /** Never to be thawed here from now on, whoever asks: only then the source may be told. May be repeated. */
  async decline(): Promise<void> {
    const { host, record } = this.#context;
    const { state } = record.entry;
    // The source has the container again: an earlier attempt has failed only in what follows.
    if (state !== "aborting" && state !== "aborted") {
      await record.transition("declining", { error: "the prepared copy died before it was thawed" });
      await host.ownership.giveBack(record.question, host.stopping);
    }
    await this.#parts.ending.abort(record.entry.error);
  }

  async #activate(): Promise<ActivateResponse> {
    const { host, record, phases } = this.#context;
    const { dockerId, containerName, migrationId, state, thawedAtMs } = record.entry;
    if (HAS_RUN.has(state) && thawedAtMs !== null) return { thawedAtMs, steps: [], fetching: state === "fetching" };
    if (state === "declining" || (this.#isUntouched() && !((await this.#copyStands()) && this.#memoryIsInReach()))) {
      await this.decline();
      throw new DrayError("NOT_OWNER", `the prepared copy of ${containerName} had died before it was thawed`, {
        node: host.node,
        remedy: "The container was given back to its source. See why the copy died, then migrate again.",
      });
    }
    const session = host.gate.session(dockerId);
    if (session === undefined) {
      if (await this.#isConfirmed()) {
        await record.transition("running");
        return { thawedAtMs: thawedAtMs ?? 0, steps: [], fetching: false };
      }
      throw new DrayError(
        "NOT_OWNER",
        `${host.node} was restarted around the thaw of ${containerName}: its copy is gone, and whether it has run is not known`,
        {
          node: host.node,
          remedy:
            "The source keeps it frozen. When the migration has ended as failed, an operator can give up what the copy " +
            `may have done: dray migration cancel ${migrationId} --allow-progress-loss`,
        },
      );
    }
    // An earlier attempt may have thawed it already, so that it cannot be given back; but it must not run on.
    if (session.state.name === "committing" && !this.#memoryIsInReach()) throw this.#parts.fetch.loss;
    const before = phases.times.length;
    await record.transition("activating");
    let thawed = 0;
    const hadThawed = session.state.name === "committed";
    const ready = await this.#parts.thaw.take();
    await runPhase(phases, "thaw", async () => {
      if (ready === undefined) await unblockMac(migrationId);
      const { thawedAtMs: atBootMs } = await session.commit({ lift: ready && (() => ready.lift()) });
      // An earlier process of the agent may have thawed it; its clock is finer than the one that outlives it.
      thawed = Date.now() - (hadThawed ? bootClockMs() - atBootMs : 0);
    });
    if (record.entry.placesLater) this.#parts.fetch.begin();
    await faultPoint("destination.after-thaw");
    if (record.entry.postCopy !== null) {
      await Promise.all([this.#announceEndpoints(ready), record.transition("fetching", { thawedAtMs: thawed })]);
      return { thawedAtMs: thawed, steps: phases.times.slice(before), fetching: true };
    }
    await Promise.all([this.#announceEndpoints(ready), this.#confirm()]);
    await record.transition("running", { thawedAtMs: thawed });
    return { thawedAtMs: thawed, steps: phases.times.slice(before), fetching: false };
  }

  /**
   * Of a copy that runs and fetches its memory: resolves when all is here, and
   * etcd says that it runs. Rejects only with the end of the agent, or if the
   * memory can never be whole: the copy stands frozen then.
   */
  fetch(): JoinableRun<FetchResult> {
    if (this.#fetchRun === undefined) {
      const run = new JoinableRun((report) => this.#fetch(report));
      this.#fetchRun = run;
      // Who asks again later may find that it has passed.
      run.result.catch(() => {
        if (this.#fetchRun === run) this.#fetchRun = undefined;
      });
    }
    return this.#fetchRun;
  }

  async #fetch(report: Report): Promise<FetchResult> {
    const { record, phases } = this.#context;
    const { fetch } = this.#parts;
    const before = phases.times.length;
    if (record.entry.state === "fetching") {
      await faultPoint("destination.before-fetch");
      await runPhase(phases, "fetch-memory", async () => {
        fetch.begin();
        const timer = setInterval(() => report(fetchProgress(fetch.progress)), PROGRESS_MS);
        try {
          await this.#whole();
        } finally {
          clearInterval(timer);
        }
      });
      await this.#confirm();
      await record.transition("running");
    }
    const { receivedPages, wireBytes, faults } = fetch.progress;
    if (faults !== null && faults.faults > 0) {
      const { lazyPageFaultDurationSeconds } = this.#context.host.metrics;
      lazyPageFaultDurationSeconds.observe({ statistic: "mean" }, faults.meanWaitUs / 1e6);
      lazyPageFaultDurationSeconds.observe({ statistic: "longest" }, faults.longestWaitUs / 1e6);
    }
    return {
      steps: phases.times.slice(before),
      bytes: receivedPages * PAGE_BYTES,
      wireBytes,
      faults: faults?.faults ?? 0,
      longestWaitMs: (faults?.longestWaitUs ?? 0) / 1000,
      meanWaitMs: (faults?.meanWaitUs ?? 0) / 1000,
    };
  }

  /** All memory is here, or was when the host was restarted: then there is nothing to be fetched any more. */
  async #whole(): Promise<void> {
    try {
      await this.#parts.fetch.complete;
    } catch (thrown) {
      if (toDrayError(thrown).reason !== "CRIU_RESTORE_FAILED" || !(await this.#isConfirmed())) throw thrown;
    }
  }

  /** What the container has on disk is on it, and etcd says that it runs here: the source may go. */
  async #confirm(): Promise<void> {
    const { host, record, phases } = this.#context;
    const { uuid, epoch } = record.entry;
    await this.#syncLayer();
    await runPhase(phases, "confirm-running", () => host.ownership.confirmRunning(uuid, epoch + 1, host.stopping));
  }

  /** Its running was durable before the host was restarted: as after any such end, Docker may start it again. */
  async #isConfirmed(): Promise<boolean> {
    const { host, record } = this.#context;
    const verdict = await host.ownership.verdict(record.question, host.stopping);
    return verdict.kind === "committed" && verdict.running;
  }

  /** Nothing has begun to thaw the copy: the gate notes that before it does. */
  #isUntouched(): boolean {
    const { host, record } = this.#context;
    const { state, dockerId } = record.entry;
    if (state === "prepared") return true;
    return state === "activating" && host.gate.session(dockerId)?.state.name === "prepared";
  }

  /**
   * False if a copy that is to fetch its memory has lost it: it would run on zeros in place of what is missing.
   * PEER_UNAVAILABLE if that cannot be told now; it must not run before.
   */
  #memoryIsInReach(): boolean {
    const { host, record } = this.#context;
    if (record.entry.postCopy === null && !record.entry.placesLater) return true;
    const { standing } = this.#parts.fetch;
    if (standing !== "unknown") return standing === "ready";
    throw new DrayError("PEER_UNAVAILABLE", `the fault server of ${record.entry.containerName} is not reached`, {
      node: host.node,
      remedy: "The copy stays frozen until it is; see the agent's log on that node.",
    });
  }

  /** False if the copy, never thawed, is not there any more, or Docker's start of it is not. */
  async #copyStands(): Promise<boolean> {
    const { host, record } = this.#context;
    const { dockerId } = record.entry;
    // A copy that Docker has let go of would be cleaned up, or run without its output and address.
    const { start } = this.#parts;
    if (start.hasEnded) return false;
    if ((await host.gate.session(dockerId)?.copyStands()) !== true) return false;
    // An agent that was restarted has not called the start itself, and only Docker knows whether it still lasts.
    return start.wasCalled || (await isBeingStarted(host.docker, dockerId));
  }

  /**
   * Once "running" is known the source's files are removed: what the container had on disk there must not be in the
   * page cache alone here. It runs meanwhile.
   */
  async #syncLayer(): Promise<void> {
    const { host, record, phases } = this.#context;
    try {
      const directory = await layerDirectory(host.docker, record.entry.dockerId);
      await runCommand(["sync", "--file-system", directory], { deadlineMs: SYNC_DEADLINE_MS });
    } catch (thrown) {
      // A disk that is slow or broken is no reason to keep the source frozen for good.
      phases.logger.warn({ err: toDrayError(thrown) }, "the writable layer may not be on disk yet");
    }
  }

  async #announceEndpoints(ready: PreparedThaw | undefined): Promise<void> {
    const { host, record, phases } = this.#context;
    try {
      if (await ready?.announced()) return;
      const inspect = await host.docker.inspectContainer(record.entry.dockerId);
      await announce(inspect.State.Pid, await this.#parts.container.endpoints());
    } catch (thrown) {
      // The container runs; the neighbours learn at its next frame.
      phases.logger.warn({ err: toDrayError(thrown) }, "the new place of the addresses was not announced");
    }
  }
}

function fetchProgress({ placedPages, missingPages, faults }: PageFetch["progress"]): Parameters<Report>[0] {
  const waits =
    faults === null || faults.faults === 0
      ? ""
      : `, ${faults.faults} waits for pages of ${(faults.meanWaitUs / 1000).toFixed(1)} ms`;
  return {
    step: "fetch-memory",
    doneBytes: placedPages * PAGE_BYTES,
    totalBytes: missingPages * PAGE_BYTES,
    message: `it runs${waits}`,
  };
}

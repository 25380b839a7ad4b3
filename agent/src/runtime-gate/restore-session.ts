/** One restore: what create, start and the agent's own orders do to its state. */
import { access, readFile, writeFile } from "node:fs/promises";
import { Deferred } from "@drayage/shared/concurrency/deferred.ts";
import { OneAtATime } from "@drayage/shared/concurrency/one-at-a-time.ts";
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { UNREAD_PAGES } from "../criu/causes.ts";
import { findInCriuLog, readCriuLog } from "../criu/criu-log.ts";
import { type Diagnosis, diagnose } from "../criu/diagnosis.ts";
import { removeRestoreMounts } from "../criu/restore-mounts.ts";
import { bootClockMs } from "../host/boot-clock.ts";
import { cgroupPids, killCgroup, thawCgroup } from "../host/cgroup.ts";
import { runcContainer } from "../host/runc-state.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { waitForFile } from "../host/wait-for-file.ts";
import { liftDestinationLock } from "../network-lock/destination-lock.ts";
import { claimantEnds, killClaimant } from "./claim.ts";
import type { Asker } from "./gate-socket.ts";
import { copyStands, verifyCopy } from "./prepared-copy.ts";
import { prepareBundle } from "./prepare-bundle.ts";
import type { RecordStore } from "./record-store.ts";
import { type CreateCommand, parseCreate } from "./restore-command.ts";
import type { RestoreRecord } from "./restore-record.ts";
import type {
  CommitOptions,
  CommitResult,
  HeldCreate,
  PreparedCopy,
  ReleaseOptions,
  RestoreSession,
} from "./runtime-gate.ts";
import { advance, type Copy, type Released, type SessionEvent, type SessionState } from "./session-state.ts";

const THAW_LIMIT_MS = 10_000;
const KILL_LIMIT_MS = 20_000;
/** How long a restore that is called off, or whose CRIU has ended, may take to notice before it is killed. */
const RESTORE_END_LIMIT_MS = 5000;
/** Of the restore's own end, while the container stands still. */
const RESTORE_RECHECK_MS = 5;
/** How long `start` may take to see the verdict that is in the record. */
const START_END_LIMIT_MS = 5000;

export interface SessionHost {
  readonly store: RecordStore;
  readonly runcPath: string;
  readonly onProblem: (message: string, cause: unknown) => void;
}

export class Session implements RestoreSession {
  readonly #host: SessionHost;
  readonly #serial = new Serial();
  readonly #verification = new OneAtATime<void>();
  readonly #held = new Deferred<HeldCreate>();
  readonly #prepared = new Deferred<PreparedCopy>();
  #record: RestoreRecord;
  #create: { readonly asker: Asker; readonly command: CreateCommand } | undefined;
  #start: Asker | undefined;

  constructor(host: SessionHost, record: RestoreRecord) {
    this.#host = host;
    this.#record = record;
    this.#settle();
  }

  get dockerId(): string {
    return this.#record.dockerId;
  }

  get migrationId(): string {
    return this.#record.migrationId;
  }

  get directory(): string {
    return this.#host.store.sessionFile(this.dockerId, "");
  }

  get state(): SessionState {
    return this.#record.state;
  }

  get held(): Promise<HeldCreate> {
    return this.#held.promise;
  }

  get prepared(): Promise<PreparedCopy> {
    return this.#prepared.promise;
  }

  /** A drayage-runc asks about this container. */
  async onAsker(asker: Asker): Promise<void> {
    if (asker.request.verb === "create") {
      // Not behind orders under way: release waits for exactly this.
      await this.#onCreate(asker);
    } else await this.#serial.run(() => this.#onStart(asker));
  }

  async release(options: ReleaseOptions): Promise<void> {
    await this.held;
    await this.#serial.run(() => this.#release(options));
  }

  async runcReady(signal: AbortSignal): Promise<void> {
    const path = this.#host.store.sessionFile(this.dockerId, "runc-ready");
    await waitForFile(path, signal);
    const criu = await readFile(path, "utf8");
    this.#endWithCriu(criu).catch((cause: unknown) =>
      this.#host.onProblem("a restore whose CRIU has ended could not be ended", cause),
    );
  }

  imagesComplete(): Promise<void> {
    return this.#tellRestore("images-complete");
  }

  pagesComplete(): Promise<void> {
    return this.#tellRestore("pages-complete");
  }

  commit(options: CommitOptions = {}): Promise<CommitResult> {
    return this.#serial.run(() => this.#commit(options));
  }

  abort(reason: string): Promise<void> {
    return this.#serial.run(() => this.#abort(reason));
  }

  copyStands(): Promise<boolean> {
    return copyStands(this.state);
  }

  async restoreDiagnosis(): Promise<Diagnosis | null> {
    const { state } = this;
    const work = state.name === "armed" ? undefined : state.restore?.workDirectory;
    if (work === undefined) return null;
    return diagnose(await readCriuLog(`${work}/restore.log`));
  }

  /** Waits until nobody needs the record any more. Throws TOO_LATE if someone will. */
  async beforeDisarm(): Promise<void> {
    const { state } = this;
    if (state.name === "released" || state.name === "prepared" || state.name === "committing") {
      throw new DrayError(
        "TOO_LATE",
        `the restore of ${this.dockerId.slice(0, 12)} is ${state.name}: commit or abort first`,
        {
          remedy: "Wait for the migration's verdict.",
        },
      );
    }
    await this.#create?.asker.answer({ type: "fail", message: "the migration has been called off" });
    // `start` reads the verdict in the record even without an agent; without either it would fail.
    if (state.name === "committed" && !(await claimantEnds(state.copy.startClaim, START_END_LIMIT_MS))) {
      throw new DrayError("TIMEOUT", `docker start of ${this.dockerId.slice(0, 12)} has not seen the verdict yet`);
    }
  }

  /** Not durable: the images are not either. */
  async #tellRestore(what: "images-complete" | "pages-complete"): Promise<void> {
    await writeFile(this.#host.store.sessionFile(this.dockerId, what), "", { mode: 0o600 });
  }

  async #onCreate(asker: Asker): Promise<void> {
    const { state } = this;
    switch (state.name) {
      case "armed": {
        const other = this.#create?.asker;
        if (other?.waits && other.request.claim !== asker.request.claim) {
          return asker.answer({ type: "fail", message: "another create of this container waits already" });
        }
        let command: CreateCommand;
        try {
          command = parseCreate(asker.request.args);
        } catch (error) {
          return asker.answer({ type: "fail", message: (error as Error).message });
        }
        this.#create = { asker, command };
        this.#held.resolve({ bundle: command.bundle, heldAtMs: bootClockMs() });
        return;
      }
      case "released":
        if (state.restore.claim === asker.request.claim) return asker.answer({ type: "run", argv: state.restore.argv });
        return asker.answer({
          type: "fail",
          message: "another create of this container restores from the images already",
        });
      case "prepared":
      case "committing":
      case "committed":
        return asker.answer({
          type: "fail",
          message: "the images have been restored from already; wait until the migration is finished",
        });
      case "failed":
        return asker.answer({ type: "fail", message: failure(state.reason) });
    }
  }

  async #onStart(asker: Asker): Promise<void> {
    switch (this.state.name) {
      case "armed":
        return asker.answer({ type: "fail", message: "the container has not been restored" });
      case "released":
        this.#start = asker;
        this.#beginVerification(this.state.restore);
        return;
      case "prepared":
      case "committing":
        this.#start = asker;
        return;
      case "committed":
        return asker.answer({ type: "ok" });
      case "failed":
        return asker.answer({ type: "fail", message: failure(this.state.reason) });
    }
  }

  /** A `start` that comes again waits for the verification that the first has begun. */
  #beginVerification(restore: Released): void {
    void this.#verification.run(() =>
      this.#verifyWhenRestored(restore).catch((cause: unknown) =>
        this.#host.onProblem("the restored copy could not be verified", cause),
      ),
    );
  }

  /** `create` has returned when the namespaces stood. Not behind orders under way: an abort ends the restore. */
  async #verifyWhenRestored(restore: Released): Promise<void> {
    await claimantEnds(restore.claim, Number.POSITIVE_INFINITY, RESTORE_RECHECK_MS);
    await this.#serial.run(() => this.#verify(restore));
  }

  async #verify(restore: Released): Promise<void> {
    const start = this.#start;
    // Called off.
    if (this.state.name !== "released" || start === undefined) return;
    try {
      const container = await runcContainer(restore.runcRoot, this.dockerId);
      if (container === null)
        throw new DrayError("CRIU_RESTORE_FAILED", "runc knows nothing of the restored container");
      const tasks = await verifyCopy(container);
      await demandAllPages(restore.workDirectory);
      const { initPid, cgroup } = container;
      const copy: Copy = { initPid, cgroup, tasks, preparedAtMs: bootClockMs(), startClaim: start.request.claim };
      await this.#to({ type: "verified", copy });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      await this.#abort(reason);
    }
  }

  /**
   * Whoever kills CRIU would leave runc waiting for good: what CRIU has made holds the other end of their connection,
   * and may run by now. So that goes first; runc then says by itself what has happened.
   */
  async #endWithCriu(criu: string): Promise<void> {
    await claimantEnds(criu, Number.POSITIVE_INFINITY);
    const { state } = this;
    if (state.name !== "released") return;
    const { restore } = state;
    if (!(await this.#isFrozen())) await killCgroup(restore.cgroup, { deadlineMs: KILL_LIMIT_MS });
    if (await claimantEnds(restore.claim, RESTORE_END_LIMIT_MS)) return;
    await this.#serial.run(async () => {
      if (this.state.name === "released") await this.#abort("CRIU has ended, and runc has not", 0);
    });
  }

  /** The freeze is the last that CRIU does (criu-action.c). */
  async #isFrozen(): Promise<boolean> {
    const frozen = access(this.#host.store.sessionFile(this.dockerId, "frozen")).then(() => true);
    return (await unlessGone(frozen)) ?? false;
  }

  async #release(options: ReleaseOptions): Promise<void> {
    const { state } = this;
    if (state.name === "armed") {
      const held = this.#create;
      if (!held?.asker.waits) {
        // Its drayage-runc is gone, and Docker's start with it.
        throw new DrayError("DOCKER_ERROR", "docker start has given up waiting", {
          remedy: "Look at `journalctl -u docker` for why, then migrate again.",
        });
      }
      const { store, runcPath } = this.#host;
      const restore = await prepareBundle({
        create: held.command,
        claim: held.asker.request.claim,
        runcPath,
        sessionFile: (name) => store.sessionFile(this.dockerId, name),
        options,
      });
      await this.#to({ type: "release", restore });
    } else if (this.#restore()?.imageDirectory !== options.imageDirectory) {
      throw new DrayError("INTERNAL", `the restore of ${this.dockerId.slice(0, 12)} was released with other images`);
    }
    if (this.state.name === "released") {
      await this.#create?.asker.answer({ type: "run", argv: this.state.restore.argv });
    }
  }

  async #commit({ lift }: CommitOptions): Promise<CommitResult> {
    await this.#to({ type: "commit" });
    if (this.state.name === "committing") {
      const { initPid, cgroup } = this.state.copy;
      if (!(await cgroupPids(cgroup)).includes(initPid)) {
        throw new DrayError("NOT_FOUND", `the prepared copy of ${this.dockerId.slice(0, 12)} has died`, {
          remedy: "Somebody killed it between its restore and the commit; the source still holds the frozen container.",
        });
      }
      await (lift?.() ?? liftDestinationLock(initPid, this.migrationId));
      await thawCgroup(cgroup, { deadlineMs: THAW_LIMIT_MS });
      await this.#to({ type: "thawed", atMs: bootClockMs() });
      await this.#start?.answer({ type: "ok" });
    }
    if (this.state.name !== "committed") throw new DrayError("INTERNAL", `commit led to ${this.state.name}`);
    return { thawedAtMs: this.state.thawedAtMs };
  }

  /** A restore that has not ended by itself after the limit is killed. */
  async #abort(reason: string, restoreEndLimitMs = RESTORE_END_LIMIT_MS): Promise<void> {
    await this.#to({ type: "abort", reason });
    const answer = { type: "fail", message: failure(reason) } as const;
    await this.#create?.asker.answer(answer);
    await this.#killRestored(restoreEndLimitMs);
    // Only now: a failed start makes Docker clean up, which must find nothing that lives.
    await this.#start?.answer(answer);
  }

  /** A restore under way sees the record: its action script ends it, and lets nothing live (criu-action.c). */
  async #killRestored(endLimitMs: number): Promise<void> {
    const restore = this.#restore();
    if (restore === null) return;
    if (!(await claimantEnds(restore.claim, endLimitMs))) await this.#killRestore(restore);
    // Also what has outlived the claimant: a CRIU whose runc was killed.
    const cgroup = (await runcContainer(restore.runcRoot, this.dockerId))?.cgroup ?? restore.cgroup;
    await killCgroup(cgroup, { deadlineMs: KILL_LIMIT_MS });
    const log = await readCriuLog(`${restore.workDirectory}/restore.log`);
    await removeRestoreMounts(log, `${restore.runcRoot}/${this.dockerId}`).catch((cause: unknown) =>
      this.#host.onProblem("a mount of the restore is left over", cause),
    );
  }

  /**
   * For a restore that hangs: runc waits for good when its CRIU was killed. By
   * the cgroup at once: before pre-resume it holds CRIU and all that CRIU has
   * made, after it the frozen tasks, so at no time can a task outlive CRIU.
   */
  async #killRestore(restore: Released): Promise<void> {
    await killCgroup(restore.cgroup, { deadlineMs: KILL_LIMIT_MS });
    await killClaimant(restore.claim);
    if (!(await claimantEnds(restore.claim, KILL_LIMIT_MS))) {
      throw new DrayError("TIMEOUT", `the restore of ${this.dockerId.slice(0, 12)} does not end`, {
        remedy: "Look for criu and runc on that node; a task may hang in uninterruptible sleep.",
      });
    }
  }

  #restore(): Released | null {
    return this.state.name === "armed" ? null : this.state.restore;
  }

  /** Makes the next state durable, then lets it have its effect on those who wait. */
  async #to(event: SessionEvent): Promise<void> {
    const next = advance(this.state, event);
    if (next === null) throw refusal(this.state, event);
    if (next === this.state) return;
    const record = { ...this.#record, state: next };
    await faultPoint(`gate.before-record-${next.name}`);
    await this.#host.store.writeRecord(record);
    await faultPoint(`gate.after-record-${next.name}`);
    this.#record = record;
    this.#settle();
  }

  #settle(): void {
    const { state } = this;
    if (state.name === "armed") return;
    if (state.name === "failed") {
      const error = new DrayError("CRIU_RESTORE_FAILED", state.reason);
      this.#held.reject(error);
      this.#prepared.reject(error);
      return;
    }
    this.#held.resolve({ bundle: state.restore.bundle, heldAtMs: bootClockMs() });
    if (state.name === "released") return;
    const { initPid, cgroup, tasks, preparedAtMs } = state.copy;
    this.#prepared.resolve({ initPid, cgroup, tasks, preparedAtMs });
  }
}

function failure(reason: string): string {
  return `the restore of this container has failed or was called off: ${reason}; it is not started cold, see \`dray migration ls\``;
}

function refusal(state: SessionState, event: SessionEvent): DrayError {
  if (event.type === "abort")
    return new DrayError("TOO_LATE", `the restored copy is ${state.name}; it cannot be aborted`);
  if (state.name === "failed") return new DrayError("CRIU_RESTORE_FAILED", `${event.type} refused: ${state.reason}`);
  return new DrayError("INTERNAL", `${event.type} refused in state ${state.name}`);
}

/** CRIU_RESTORE_FAILED if CRIU has gone on without some. */
async function demandAllPages(workDirectory: string): Promise<void> {
  const line = await findInCriuLog(`${workDirectory}/restore.log`, UNREAD_PAGES.pattern);
  if (line !== null) throw new DrayError("CRIU_RESTORE_FAILED", `${UNREAD_PAGES.meaning}: ${line}`);
}

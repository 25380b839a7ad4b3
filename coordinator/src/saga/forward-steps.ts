/**
 * The steps before the decision: reserve, sync, switch, commit.
 *
 * Each returns with the record and the owner key saying what comes next, or
 * throws; after a throw the source runs, or is frozen and will be brought
 * back by the abort step.
 */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { changeOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { KeyValue } from "@drayage/shared/etcd/etcd-port.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { SourceDescription, SwitchResult, SyncResult } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { PhaseTime, Progress, Round } from "@drayage/shared/gen/drayage/common/v1/progress.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import type { RoundRecord } from "@drayage/shared/state/migration.ts";
import { commit, enterSwitch, type OwnerRecord } from "@drayage/shared/state/owner.ts";
import { orderOf, type SagaContext } from "./context.ts";
import { drain } from "./drain.ts";
import { VERDICT_DEADLINE_MS } from "./journal.ts";
import { preCopyOrder } from "./mode.ts";
import { withSteps } from "./phase-times.ts";
import { runPhase } from "./run-phase.ts";

const INSPECT_MS = 60_000;
const RESERVE_MS = 120_000;

/** Reserve on the destination and sync from the source, while the container runs. */
export async function reserveAndSync(context: SagaContext): Promise<void> {
  const { journal, agents } = context;
  const { source, destination, epoch, allowFlags } = journal.record;
  const signal = forwardSignal(context);
  const { reservation, description } = await runPhase(context, "reserve", { journal: "before" }, async () => {
    const description = context.description ?? (await inspect(context, signal));
    const request = { order: orderOf(context), description, sourceNode: source, epoch, allowFlags };
    return {
      reservation: await agents.of(destination).reserve(request, { deadlineMs: RESERVE_MS, signal }),
      description,
    };
  });
  await runPhase(context, "sync", { journal: "before" }, async () => {
    const request = {
      order: orderOf(context),
      dockerId: description.dockerId,
      uuid: description.uuid,
      epoch,
      destinationNode: destination,
      transferToken: reservation.transferToken,
      pageAddresses: reservation.pageAddresses,
      sendImage: !reservation.imagePresent,
      bandwidthBytesPerSecond: journal.record.bandwidthBytesPerSecond,
      preCopy: preCopyOrder(journal.record),
    };
    const stream = agents.of(source).sync(request, { deadlineMs: remainingMs(context), signal });
    noteSync(context, await drain(stream, source, (progress) => noteProgress(context, progress)));
  });
  await journal.write("phase-switch", { phase: "switch" });
}

/** Rounds that have ended are told of, also those of a migration that is rolled back. */
function noteProgress({ journal }: SagaContext, progress: Progress): void {
  const { rounds, decisions } = journal.record;
  if (progress.round !== undefined) journal.note({ rounds: [...rounds, toRoundRecord(progress.round)] });
  if (progress.decision !== "") journal.note({ decisions: [...decisions, progress.decision] });
  journal.progress(progress);
}

/** After the rounds it is known how the rest of the memory goes, and with that, where it was left open, the mode. */
function noteSync({ journal }: SagaContext, result: SyncResult): void {
  const { mode, wireBytes } = journal.record;
  const roundsWireBytes = result.rounds.reduce((sum, round) => sum + round.wireBytes, 0);
  journal.note({
    wireBytes: wireBytes + result.imageBytes + result.layerBytes + roundsWireBytes,
    rounds: result.rounds.map(toRoundRecord),
    decisions: result.decisions,
    postCopy: result.postCopy || mode === "post-copy" || mode === "hybrid",
    mode: mode === "auto" ? (result.postCopy ? "hybrid" : "pre-copy") : mode,
  });
}

function toRoundRecord({ bytes, pages, durationMs, dirtyBytes, wireBytes, stillMs }: Round): RoundRecord {
  return { bytes, pages, durationMs, dirtyBytes, wireBytes, stillMs };
}

/** Freezes the source and restores into a frozen copy, then commits. Returns the owner after the commit. */
export async function switchAndCommit(context: SagaContext): Promise<OwnerRecord> {
  const { etcd, journal } = context;
  const { destination } = journal.record;
  // Read before anything of the copy exists: the commit demands the same lease, and so the same life of that agent.
  const node = await etcd.get(keys.node(destination), { signal: context.leadership.lost });
  if (node === null) throw new DrayError("AGENT_UNAVAILABLE", `node ${destination} is down`, { node: destination });
  const switched = await runPhase(context, "switch", { journal: "before" }, () => freezeAndRestore(context));
  journal.note({
    lockedAtMs: switched.lockedAtMs,
    rounds: [...journal.record.rounds, ...switched.rounds.map(toRoundRecord)],
    memoryBytes: switched.memoryBytes,
    wireBytes: journal.record.wireBytes + switched.wireBytes,
  });
  // From here on it is too late to cancel; nothing is awaited between this look and the phase.
  forwardSignal(context).throwIfAborted();
  return await runPhase(context, "commit", { journal: "within" }, () => commitTransaction(context, node));
}

async function freezeAndRestore(context: SagaContext): Promise<SwitchResult> {
  const { agents, journal } = context;
  const { source, destination, postCopy, allowFlags } = journal.record;
  const ended = new AbortController();
  const options = { deadlineMs: remainingMs(context), signal: AbortSignal.any([forwardSignal(context), ended.signal]) };
  const held = Promise.withResolvers<void>();
  const prepared = drain(
    agents.of(destination).prepare({ order: orderOf(context), postCopy }, options),
    destination,
    (progress) => {
      // One who joins a running order hears only where it is now.
      if (progress.step === "held" || progress.step === "restore") held.resolve();
      journal.progress(progress);
    },
  );
  const steps: PhaseTime[] = [];
  try {
    await Promise.race([held.promise, prepared]);
    await enter(context);
    const stream = agents.of(source).switch({ order: orderOf(context), postCopy, allowFlags }, options);
    const sent = drain(stream, source, (progress) => journal.progress(progress));
    const [result, copy] = await bothOrRootCause(sent, prepared);
    steps.push(...result.steps, ...copy.steps);
    return result;
  } finally {
    // Leaves neither order under way behind a failure of the other.
    ended.abort(new DrayError("CANCELLED", "the switch has ended"));
    await Promise.allSettled([prepared]);
    journal.note({ phases: withSteps(journal.record.phases, steps) });
  }
}

/** The transaction after which the source may freeze. */
async function enter(context: SagaContext): Promise<void> {
  const { epoch, source, id, containerUuid } = context.journal.record;
  await faultPoint("saga.before-enter-switch");
  const { record } = await changeOwner(context.etcd, containerUuid, (owner) => enterSwitch(owner, epoch, source, id), {
    compares: context.leadership.guard,
    signal: context.leadership.lost,
    deadlineMs: VERDICT_DEADLINE_MS,
  });
  await faultPoint("saga.after-enter-switch");
  if (record?.epoch === epoch && record.state === "switching" && record.migrationId === id) return;
  if (record?.epoch === epoch && record.state === "running") {
    throw new DrayError("NOT_LEADER", "another leader gives the orders");
  }
  throw new DrayError(
    "NOT_OWNER",
    `the container belongs to ${record?.node ?? "nobody"} (epoch ${record?.epoch ?? 0})`,
  );
}

/**
 * The decision. Returns the owner that stands, whoever won. NOT_LEADER if this
 * leader is fenced off; AGENT_UNAVAILABLE if the destination's lease ended,
 * and then the commit can no longer land.
 */
async function commitTransaction(context: SagaContext, prepared: KeyValue): Promise<OwnerRecord> {
  const { etcd, journal, leadership } = context;
  const { containerUuid, epoch, destination, id } = journal.record;
  await faultPoint("saga.before-commit");
  journal.note({ phase: "activate" });
  const activating = journal.operation();
  journal.note({ phase: "commit" });
  const { record } = await changeOwner(etcd, containerUuid, (owner) => commit(owner, epoch, destination, id), {
    compares: [
      ...leadership.guard,
      { key: prepared.key, is: "created-at", revision: prepared.createRevision },
      { key: prepared.key, is: "leased", leaseId: prepared.leaseId },
    ],
    alsoDo: [activating],
    signal: leadership.lost,
    deadlineMs: VERDICT_DEADLINE_MS,
  });
  await faultPoint("saga.after-commit");
  if (record === null) throw new DrayError("NOT_OWNER", "the owner key of the container is gone");
  if (record.epoch !== epoch) {
    journal.note({ phase: record.node === destination ? "activate" : "commit" });
    return record;
  }
  const node = await etcd.get(keys.node(destination), { signal: leadership.lost });
  if (node?.createRevision === prepared.createRevision && node.leaseId === prepared.leaseId)
    throw new DrayError("NOT_LEADER", "another leader gives the orders");
  throw new DrayError("AGENT_UNAVAILABLE", `node ${destination} lost its lease before the commit`, {
    node: destination,
  });
}

async function inspect(context: SagaContext, signal: AbortSignal): Promise<SourceDescription> {
  const { source, sourceDockerId, allowFlags } = context.journal.record;
  const answer = await context.agents
    .of(source)
    .inspectSource({ dockerId: sourceDockerId, allowFlags }, { deadlineMs: INSPECT_MS, signal });
  if (answer.description === undefined)
    throw new DrayError("INTERNAL", `node ${source} described no container`, { node: source });
  return answer.description;
}

/**
 * Both results. When one side fails because the other went away, the other's
 * error is the cause: it gets a moment to arrive.
 */
async function bothOrRootCause<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  try {
    return await Promise.all([one, other]);
  } catch (thrown) {
    const first = toDrayError(thrown);
    if (!SYMPTOMS.has(first.reason)) throw first;
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, ROOT_CAUSE_MS);
    const errors: DrayError[] = [first];
    const collect = (promise: Promise<unknown>) =>
      promise.then(undefined, (reason: unknown) => errors.push(toDrayError(reason)));
    await Promise.race([patience.promise, Promise.all([collect(one), collect(other)])]);
    clearTimeout(timer);
    throw errors.find((error) => !SYMPTOMS.has(error.reason)) ?? first;
  }
}

/** Reasons that tell of the peer rather than of the thrower. */
const SYMPTOMS: ReadonlySet<string> = new Set(["PEER_UNAVAILABLE", "CORRUPT_STREAM", "CANCELLED"]);
const ROOT_CAUSE_MS = 1_000;

function forwardSignal(context: SagaContext): AbortSignal {
  return AbortSignal.any([context.leadership.lost, context.stop]);
}

/** What is left of the migration's time; the saga's own timer fires first and says so better. */
function remainingMs(context: SagaContext): number {
  const { startedAtMs, timeoutMs } = context.journal.record;
  return Math.max(1_000, startedAtMs + timeoutMs - Date.now()) + 5_000;
}

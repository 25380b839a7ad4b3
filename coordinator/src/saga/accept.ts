/** Taking a migration on: preflight, then one transaction that makes record, lock, request key and owner. */
import { randomBytes } from "node:crypto";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { readOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { Compare, EtcdPort, Operation } from "@drayage/shared/etcd/etcd-port.ts";
import { encodeRecord, readRecord, type Stored } from "@drayage/shared/etcd/records.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { Mode, type StartMigrationRequest } from "@drayage/shared/gen/drayage/coordinator/v1/migration.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import { OwnerRecord } from "@drayage/shared/state/owner.ts";
import { type FindView, withContainer } from "../cluster/find-container.ts";
import type { Leadership } from "../election/leadership.ts";
import { type Constraint, parseConstraint } from "../placement/constraint.ts";
import { toFindingRecord } from "../preflight/findings.ts";
import { type PreflightDeps, type PreflightVerdict, preflight } from "../preflight/preflight.ts";
import { VERDICT_DEADLINE_MS } from "./journal.ts";
import { moreThanItsLimit } from "./memory-limit.ts";
import { chooseMode, unmetWishes } from "./mode.ts";

export interface AcceptDeps extends PreflightDeps {
  readonly coordinator: string;
  readonly etcd: EtcdPort;
  readonly leadership: Leadership;
  readonly view: FindView;
}

export interface Accepted {
  readonly record: MigrationRecord;
  /** Null if the migration had been accepted before, or is not to be run. */
  readonly description: SourceDescription | null;
}

const DEFAULT_TIMEOUT_MS = 600_000;
/** With less, what every switch has to send (some hundred kilobytes) would keep the container standing still for long. */
const LEAST_BANDWIDTH_BYTES = 100_000;
/** Of `criu check --feature`. */
const POST_COPY_FEATURES = ["uffd-noncoop"];

/** The migration of this request id, if there is one. */
export async function findRequest(etcd: EtcdPort, requestId: string): Promise<MigrationRecord | null> {
  if (requestId === "") return null;
  const pointer = await etcd.get(keys.request(requestId));
  if (pointer === null) return null;
  return (await readRecord(etcd, MigrationRecord, keys.migration(pointer.value)))?.record ?? null;
}

/** PREFLIGHT, NO_PLACEMENT, ALREADY_MIGRATING, NOT_OWNER, NOT_FOUND, AMBIGUOUS, BAD_REQUEST, NOT_LEADER. */
export async function accept(deps: AcceptDeps, request: StartMigrationRequest, signal: AbortSignal): Promise<Accepted> {
  const constraints = request.constraints.map(parseConstraint);
  demandUsableBandwidth(request.bandwidthBytesPerSecond);
  const earlier = await findRequest(deps.etcd, request.requestId);
  if (earlier !== null) return { record: earlier, description: null };
  return await withContainer(deps.view, request.container, signal, (container) =>
    acceptContainer(deps, request, { container, constraints }, signal),
  );
}

/** 0 is none. */
function demandUsableBandwidth(bytesPerSecond: number): void {
  if (bytesPerSecond === 0 || bytesPerSecond >= LEAST_BANDWIDTH_BYTES) return;
  throw new DrayError(
    "BAD_REQUEST",
    `a bandwidth of ${bytesPerSecond} bytes per second is too little for any migration`,
    {
      remedy: `Give at least ${LEAST_BANDWIDTH_BYTES / 1000}K; a number without a unit is bytes per second, 20M are 20 megabytes.`,
    },
  );
}

async function acceptContainer(
  deps: AcceptDeps,
  request: StartMigrationRequest,
  { container, constraints }: { readonly container: InventoryRecord; readonly constraints: readonly Constraint[] },
  signal: AbortSignal,
): Promise<Accepted> {
  const lock = await deps.etcd.get(keys.migrationLock(container.uuid), { signal });
  if (lock !== null) {
    // The same request may have come twice.
    const twin = await findRequest(deps.etcd, request.requestId);
    if (twin !== null) return { record: twin, description: null };
    throw alreadyMigrating(container.name, lock.value);
  }
  const startedAtMs = Date.now();
  const startedAt = performance.now();
  const verdict = await preflight(
    deps,
    { container, to: request.to, constraints, allowFlags: request.allowFlags },
    signal,
  );
  const choice = chooseMode({
    asked: request.mode,
    memoryBytes: verdict.description.memoryBytes,
    bandwidthBytesPerSecond: request.bandwidthBytesPerSecond,
    maxDowntimeMs: request.maxDowntimeMs,
    noPostCopy: noPostCopy(deps, verdict),
  });
  const isChosenByItself = request.mode === Mode.MODE_UNSPECIFIED || request.mode === Mode.MODE_AUTO;
  const owner = await readOwner(deps.etcd, verdict.description.uuid, { signal });
  demandOwner(owner, container.node, container.name);
  const record: MigrationRecord = {
    id: request.dryRun ? "" : randomBytes(6).toString("hex"),
    requestId: request.requestId,
    containerUuid: verdict.description.uuid,
    container: container.name,
    sourceDockerId: container.dockerId,
    source: container.node,
    destination: verdict.destination,
    mode: choice.mode,
    epoch: owner?.record.epoch ?? 1,
    phase: "preflight",
    phaseStartedAtMs: null,
    outcome: null,
    reason: choice.reason,
    allowFlags: request.allowFlags,
    timeoutMs: request.timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : request.timeoutMs,
    bandwidthBytesPerSecond: request.bandwidthBytesPerSecond,
    maxDowntimeMs: request.maxDowntimeMs,
    autoConverge: request.autoConverge,
    startedAtMs,
    lockedAtMs: null,
    downtimeMs: null,
    frozenMs: null,
    totalMs: null,
    rounds: [],
    memoryBytes: 0,
    wireBytes: 0,
    phases: [{ name: "preflight", startedAtMs, durationMs: performance.now() - startedAt, node: deps.coordinator }],
    decisions: [],
    postCopy: false,
    findings: [...verdict.findings, ...unmetWishes(choice.mode, { ...request, isChosenByItself })].map(toFindingRecord),
    error: null,
    cancelRequested: false,
  };
  if (request.dryRun) return { record, description: null };
  return await create(deps, record, owner, verdict);
}

/** What keeps the copy from fetching its memory; empty if nothing. */
function noPostCopy(deps: AcceptDeps, { description, destination }: PreflightVerdict): string {
  const there = deps.nodes().find(({ record }) => record.name === destination)?.record.host.criuFeatures ?? [];
  const here = description.host?.criuFeatures ?? [];
  for (const [node, features] of [
    [destination, there],
    ["the source", here],
  ] as const) {
    const missing = POST_COPY_FEATURES.filter((feature) => !features.includes(feature));
    if (missing.length > 0) return `CRIU on ${node} lacks ${missing.join(", ")} (userfaultfd)`;
  }
  return moreThanItsLimit(description);
}

async function create(
  deps: AcceptDeps,
  record: MigrationRecord,
  owner: Stored<OwnerRecord> | null,
  verdict: PreflightVerdict,
): Promise<Accepted> {
  const { etcd, leadership } = deps;
  const ownerKey = keys.owner(record.containerUuid);
  const compare: Compare[] = [
    ...leadership.guard,
    { key: keys.migrationLock(record.containerUuid), is: "absent" },
    owner === null
      ? { key: ownerKey, is: "absent" }
      : { key: ownerKey, is: "modified-at", revision: owner.modRevision },
  ];
  const success: Operation[] = [
    { do: "put", key: keys.migration(record.id), value: encodeRecord(MigrationRecord, record) },
    { do: "put", key: keys.migrationLock(record.containerUuid), value: record.id },
  ];
  if (record.requestId !== "") {
    compare.push({ key: keys.request(record.requestId), is: "absent" });
    success.push({ do: "put", key: keys.request(record.requestId), value: record.id });
  }
  if (owner === null) {
    const first: OwnerRecord = {
      uuid: record.containerUuid,
      node: record.source,
      epoch: 1,
      state: "running",
      migrationId: "",
    };
    success.push({ do: "put", key: ownerKey, value: encodeRecord(OwnerRecord, first) });
  }
  await faultPoint("saga.before-accept");
  const isCreated = await createOnce(etcd, leadership, { compare, success }, record.id);
  await faultPoint("saga.after-accept");
  if (isCreated) return { record, description: verdict.description };
  const earlier = await findRequest(etcd, record.requestId);
  if (earlier !== null) return { record: earlier, description: null };
  const lock = await etcd.get(keys.migrationLock(record.containerUuid));
  if (lock !== null) throw alreadyMigrating(record.container, lock.value);
  demandOwner(await readOwner(etcd, record.containerUuid), record.source, record.container);
  throw new DrayError("NOT_LEADER", "the leader changed while the migration was being accepted");
}

/** Repeats the transaction until etcd has said what became of it: the id is this call's own, so finding the record is a yes. */
async function createOnce(
  etcd: EtcdPort,
  leadership: Leadership,
  transaction: { readonly compare: Compare[]; readonly success: Operation[] },
  id: string,
): Promise<boolean> {
  const endsAtMs = Date.now() + VERDICT_DEADLINE_MS;
  for (;;) {
    try {
      if ((await etcd.txn(transaction, { signal: leadership.lost })).succeeded) return true;
      return (await etcd.get(keys.migration(id), { signal: leadership.lost })) !== null;
    } catch (thrown) {
      const isUnknown =
        thrown instanceof DrayError && (thrown.reason === "OUTCOME_UNKNOWN" || thrown.reason === "ETCD_UNAVAILABLE");
      if (!isUnknown || leadership.lost.aborted || Date.now() > endsAtMs) throw thrown;
    }
  }
}

function demandOwner(owner: Stored<OwnerRecord> | null, node: string, container: string): void {
  if (owner === null || (owner.record.node === node && owner.record.state === "running")) return;
  const { record } = owner;
  throw new DrayError(
    "NOT_OWNER",
    `${container} on ${node} may not be moved: it belongs to ${record.node} (${record.state}, epoch ${record.epoch})`,
    {
      remedy: "Look at the last migration with `dray migration ls`; bring its nodes back so that it can end.",
    },
  );
}

function alreadyMigrating(container: string, id: string): DrayError {
  return new DrayError("ALREADY_MIGRATING", `${container} is being moved by migration ${id}`);
}

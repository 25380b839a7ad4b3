/**
 * A migration that has failed after its commit is taken up again, the other way: the operator gives up what the copy
 * may have done, and the source goes on from where it was frozen.
 *
 * Nothing that could be found out says whether a copy has run whose host lost power around the thaw, and one that has
 * lost memory which it was to fetch has run: this is no decision for a program. That it does not run any more the
 * destination's agent has said, or the migration would not have failed, and that agent keeps a container that a
 * migration has brought from being started. Where another host has taken the destination's name, only the operator knows
 * that the first one is off; should it come back, its agent ends the copy as soon as it reaches etcd.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { notFound } from "@drayage/shared/errors/not-found.ts";
import { changeOwner, readOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { encodeRecord, readRecord } from "@drayage/shared/etcd/records.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { MigrationRecord } from "@drayage/shared/state/migration.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import { giveBack, type OwnerRecord } from "@drayage/shared/state/owner.ts";
import type { Leadership } from "../election/leadership.ts";
import { VERDICT_DEADLINE_MS } from "./journal.ts";
import { standingOf } from "./next-step.ts";

/** Docker's words for a container that has processes. */
const HAS_PROCESSES: ReadonlySet<string> = new Set(["running", "paused", "restarting"]);

/** Whether it has failed after its commit, and nothing has changed the owner since: the container stands frozen on its source. */
export function canBeTakenBack(record: MigrationRecord, owner: OwnerRecord | null): boolean {
  return record.outcome === "failed" && standingOf(record, owner) === "committed";
}

export interface TakeBackDeps {
  readonly etcd: EtcdPort;
  readonly leadership: Pick<Leadership, "guard" | "lost">;
  /** As etcd has it now. */
  readonly isUp: (node: string) => boolean;
  /** Containers of all nodes that are up, as etcd has them now. */
  readonly inventory: () => readonly InventoryRecord[];
}

/**
 * Makes the source the owner and opens the migration in phase `abort`, in one transaction; resolves with the record,
 * for the saga to go on with.
 *
 * NOT_FOUND if there is no such migration. AGENT_UNAVAILABLE while the destination is down: what runs there is not known
 * then. TOO_LATE unless it has failed after the commit and nothing has changed the
 * owner since; also while the destination has processes of the container.
 */
export async function takeBack(deps: TakeBackDeps, id: string): Promise<MigrationRecord> {
  const { etcd, leadership } = deps;
  const signal = leadership.lost;
  const stored = await readRecord(etcd, MigrationRecord, keys.migration(id), { signal });
  if (stored === null) throw notFound("migration", id);
  const { record } = stored;
  const { containerUuid, destination, source, epoch } = record;
  // An earlier call has had no answer.
  if (record.phase === "abort" && record.outcome === null) return record;
  const owner = (await readOwner(etcd, containerUuid, { signal }))?.record ?? null;
  if (!canBeTakenBack(record, owner)) throw nothingToTakeBack(id);
  demandNoCopy(deps, record);
  const opened: MigrationRecord = { ...record, phase: "abort", outcome: null, cancelRequested: true };
  const result = await changeOwner(etcd, containerUuid, (now) => giveBack(now, epoch + 1, destination, source, id), {
    compares: leadership.guard,
    alsoDo: [
      { do: "put", key: keys.migration(id), value: encodeRecord(MigrationRecord, opened) },
      { do: "put", key: keys.migrationLock(containerUuid), value: id },
    ],
    signal,
    deadlineMs: VERDICT_DEADLINE_MS,
  });
  if (result.applied) return opened;
  if (standingOf(record, result.record) === "committed")
    throw new DrayError("NOT_LEADER", "another leader gives the orders");
  throw nothingToTakeBack(id);
}

function demandNoCopy(
  { isUp, inventory }: TakeBackDeps,
  { containerUuid, container, destination }: MigrationRecord,
): void {
  if (!isUp(destination)) {
    throw new DrayError("AGENT_UNAVAILABLE", `${destination} is down, and may have a copy of ${container} that runs`, {
      node: destination,
      remedy:
        `Bring it back. If it never comes back, make sure that it stays off, and set up a host with the same name: ` +
        `its agent says that it has no copy.`,
    });
  }
  const copy = inventory().find(({ uuid, node }) => uuid === containerUuid && node === destination);
  if (copy === undefined || !HAS_PROCESSES.has(copy.state)) return;
  throw new DrayError("TOO_LATE", `${container} is ${copy.state} on ${destination}`, {
    node: destination,
    remedy: `End it there first: docker rm --force ${container}`,
  });
}

function nothingToTakeBack(id: string): DrayError {
  return new DrayError("TOO_LATE", `migration ${id} did not leave a container frozen on its source`, {
    remedy: "See how it ended with `dray migration inspect`.",
  });
}

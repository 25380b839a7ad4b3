/**
 * Ownership of a container: one key in etcd, changed only by transactions.
 *
 *                         leader, compare epoch E
 *      running(E) ─────────────────────────────────► switching(E)
 *          ▲                                          │        │
 *          │ source's own, epoch E+1, node = source   │        │ leader: commit, epoch E+1,
 *          └──────────────────────────────────────────┘        │ node = destination
 *                                                              ▼
 *      running(E+1, destination) ◄──────────────── committed(E+1, destination)
 *                                destination's own, after the thaw
 *
 * Exactly one of the two transactions that leave switching(E) can win, since
 * both compare the epoch and both raise it.
 *
 * A destination whose prepared copy has died before it thawed it (its host lost
 * power, say) gives the container back: committed(E+1, destination) becomes
 * running(E+2, source). Nobody but the destination may thaw in committed(E+1),
 * so its word that it never did, nor will, is enough. Where it lost power
 * around the thaw it can only say that it has no copy any more; then the same
 * change is the leader's, if an operator gives up what the copy may have done.
 */
import { z } from "zod";

export const OWNER_STATES = ["running", "switching", "committed"] as const;
export type OwnerState = (typeof OWNER_STATES)[number];

export const OwnerRecord = z.object({
  uuid: z.string(),
  /** Node that owns the container. */
  node: z.string(),
  /** Rises by one with every change of owner and every abort. */
  epoch: z.number().int().positive(),
  state: z.enum(OWNER_STATES),
  /** Migration in which the present state arose; empty before the first. */
  migrationId: z.string(),
});
export type OwnerRecord = z.infer<typeof OwnerRecord>;

/** switching: the source may freeze from now on. Null if the record does not allow it. */
export function enterSwitch(
  record: OwnerRecord,
  epoch: number,
  source: string,
  migrationId: string,
): OwnerRecord | null {
  if (record.epoch !== epoch || record.node !== source || record.state !== "running") return null;
  return { ...record, state: "switching", migrationId };
}

/** The leader's commit: the destination owns. Null if the record does not allow it. */
export function commit(
  record: OwnerRecord,
  epoch: number,
  destination: string,
  migrationId: string,
): OwnerRecord | null {
  if (record.epoch !== epoch || record.state !== "switching" || record.migrationId !== migrationId) return null;
  return { ...record, node: destination, epoch: epoch + 1, state: "committed" };
}

/** The source's own verdict: it runs on. Null if the record does not allow it. */
export function abort(record: OwnerRecord, epoch: number, source: string, migrationId: string): OwnerRecord | null {
  if (record.epoch !== epoch || record.node !== source) return null;
  if (record.state !== "switching" || record.migrationId !== migrationId) return null;
  return { ...record, epoch: epoch + 1, state: "running" };
}

/** The destination's copy is lost, and never ran or does not count; the source may go on. Null if the record does not allow it. */
export function giveBack(
  record: OwnerRecord,
  epoch: number,
  destination: string,
  source: string,
  migrationId: string,
): OwnerRecord | null {
  if (record.epoch !== epoch || record.node !== destination || record.state !== "committed") return null;
  if (record.migrationId !== migrationId) return null;
  return { ...record, node: source, epoch: epoch + 1, state: "running" };
}

/** The destination's durable "running", after its thaw. Null if the record does not allow it. */
export function confirmRunning(record: OwnerRecord, epoch: number, destination: string): OwnerRecord | null {
  if (record.epoch !== epoch || record.node !== destination || record.state !== "committed") return null;
  return { ...record, state: "running" };
}

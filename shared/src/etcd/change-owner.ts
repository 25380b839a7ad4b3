/** The ownership transactions over the rules in state/owner.ts. */
import { keys } from "../state/keys.ts";
import { OwnerRecord } from "../state/owner.ts";
import type { CallOptions, EtcdPort } from "./etcd-port.ts";
import { type ChangeOptions, type ChangeResult, compareAndSwap, readRecord, type Stored } from "./records.ts";

export type OwnerRule = (record: OwnerRecord) => OwnerRecord | null;

/**
 * Changes a container's owner by a rule of state/owner.ts.
 *
 * `applied: false` is a verdict: neither this call's transaction nor any copy
 * of it can land any more; `record` says who owns. It is also the answer when
 * the same change was made by an earlier call (the rule forbids it twice): look
 * at the record's epoch, node and migrationId before concluding. Throws
 * OUTCOME_UNKNOWN when there is no verdict by the deadline: the change may
 * still land, and the only safe way on is to call again.
 */
export function changeOwner(
  etcd: EtcdPort,
  uuid: string,
  rule: OwnerRule,
  options: ChangeOptions = {},
): Promise<ChangeResult<OwnerRecord>> {
  return compareAndSwap(etcd, OwnerRecord, keys.owner(uuid), rule, options);
}

export function readOwner(etcd: EtcdPort, uuid: string, options?: CallOptions): Promise<Stored<OwnerRecord> | null> {
  return readRecord(etcd, OwnerRecord, keys.owner(uuid), options);
}

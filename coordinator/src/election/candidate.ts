/** What a coordinator publishes in the election. */
import type { KeyValue } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord } from "@drayage/shared/etcd/records.ts";
import { z } from "zod";

export const CandidateRecord = z.object({
  name: z.string(),
  /** "host:port" of its gRPC API, for standbys that forward. */
  addresses: z.array(z.string()),
  /** It has the key of the CA, and so can let nodes join. */
  signs: z.boolean(),
});
export type CandidateRecord = z.infer<typeof CandidateRecord>;

export interface Candidate extends CandidateRecord {
  readonly key: string;
  /** Create revision of the key: the lowest leads, and it is the term. */
  readonly revision: number;
}

/** The candidates in the order in which they lead. */
export function inOrder(entries: readonly KeyValue[]): Candidate[] {
  return entries
    .map((entry) => ({
      ...decodeRecord(CandidateRecord, entry).record,
      key: entry.key,
      revision: entry.createRevision,
    }))
    .sort((one, other) => one.revision - other.revision);
}

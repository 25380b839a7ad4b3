/** Join tokens in etcd: by digest, on a lease of their own, gone with their first use. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import { decodeRecord, encodeRecord } from "@drayage/shared/etcd/records.ts";
import { secretDigest } from "@drayage/shared/identity/token.ts";
import { keys } from "@drayage/shared/state/keys.ts";
import { z } from "zod";

export const JoinTokenRecord = z.object({
  /** Node name that the token is good for. */
  node: z.string(),
  expiresAtMs: z.number(),
});
export type JoinTokenRecord = z.infer<typeof JoinTokenRecord>;

/** Keeps the token until it is used or its time is over. */
export async function storeToken(etcd: EtcdPort, secret: string, node: string, ttlSeconds: number): Promise<void> {
  const key = keys.joinToken(secretDigest(secret));
  const record = { node, expiresAtMs: Date.now() + ttlSeconds * 1000 };
  const leaseId = await etcd.grantBareLease({ ttlSeconds });
  await etcd.put(key, encodeRecord(JoinTokenRecord, record), { leaseId });
}

/** The node that an unused token is good for; the token stays. BAD_TOKEN. */
export async function peekToken(
  etcd: EtcdPort,
  secret: string,
): Promise<{ readonly record: JoinTokenRecord; readonly use: () => Promise<void> }> {
  const key = keys.joinToken(secretDigest(secret));
  const entry = await etcd.get(key);
  const bad = () => new DrayError("BAD_TOKEN", "the token is unknown, used or expired");
  if (entry === null) throw bad();
  const { record, createRevision } = decodeRecord(JoinTokenRecord, entry);
  // The lease is what ends a token; its own time counts when etcd was down meanwhile and gave leases more.
  if (record.expiresAtMs <= Date.now()) throw bad();
  return {
    record,
    use: async () => {
      const result = await etcd.txn({
        compare: [{ key, is: "created-at", revision: createRevision }],
        success: [{ do: "delete", key }],
      });
      if (!result.succeeded) throw bad();
    },
  };
}

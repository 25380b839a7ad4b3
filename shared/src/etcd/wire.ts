/** Between the port's types and etcd's own. Pure. */
import type { ICompare, IKeyValue, IRequestOp, ITxnResponse } from "etcd3";
import type { Change, Compare, KeyValue, Operation } from "./etcd-port.ts";

/** The end of the range that holds exactly the keys with this prefix. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  for (let index = end.length - 1; index >= 0; index--) {
    const byte = end[index] as number;
    if (byte < 0xff) {
      end[index] = byte + 1;
      return end.subarray(0, index + 1);
    }
  }
  return Buffer.from([0]);
}

export function toKeyValue(raw: IKeyValue): KeyValue {
  return {
    key: raw.key.toString(),
    value: raw.value.toString(),
    createRevision: Number(raw.create_revision),
    modRevision: Number(raw.mod_revision),
    leaseId: String(raw.lease),
  };
}

export function toChange(raw: { readonly type: string; readonly kv: IKeyValue }): Change {
  if (raw.type.toUpperCase() === "DELETE") {
    return {
      type: "delete",
      key: raw.kv.key.toString(),
      revision: Number(raw.kv.mod_revision),
    };
  }
  return { type: "put", entry: toKeyValue(raw.kv) };
}

export function toRawCompare(compare: Compare): ICompare {
  const key = Buffer.from(compare.key);
  switch (compare.is) {
    case "value":
      return {
        key,
        target: "Value",
        result: "Equal",
        value: Buffer.from(compare.value),
      };
    case "created-at":
      return {
        key,
        target: "Create",
        result: "Equal",
        create_revision: String(compare.revision),
      };
    case "modified-at":
      return {
        key,
        target: "Mod",
        result: "Equal",
        mod_revision: String(compare.revision),
      };
    case "leased":
      return { key, target: "Lease", result: "Equal", lease: compare.leaseId };
    case "present":
      return { key, target: "Create", result: "Greater", create_revision: "0" };
    case "absent":
      return { key, target: "Create", result: "Equal", create_revision: "0" };
  }
}

export function toRawOperation(operation: Operation): IRequestOp {
  const key = Buffer.from(operation.key);
  switch (operation.do) {
    case "put":
      return {
        request_put: {
          key,
          value: Buffer.from(operation.value),
          lease: operation.leaseId ?? "0",
        },
      };
    case "delete":
      return { request_delete_range: { key } };
    case "get":
      return { request_range: { key } };
  }
}

/** One entry for each operation, see TransactionResult. */
export function toEntries(response: ITxnResponse, operations: readonly Operation[]): (KeyValue | null)[] {
  return operations.map((operation, index) => {
    if (operation.do !== "get") return null;
    const raw = response.responses[index]?.response_range?.kvs[0];
    return raw === undefined ? null : toKeyValue(raw);
  });
}

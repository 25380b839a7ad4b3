/** What a leader holds while it leads. */
import type { Compare } from "@drayage/shared/etcd/etcd-port.ts";

export type Fence = Extract<Compare, { is: "created-at" }>;

export interface Leadership {
  /** Create revision of the leader's election key; rises with every leader. */
  readonly term: number;
  /** Fires when the leader may no longer be the leader, before anyone else can be. */
  readonly lost: AbortSignal;
  /** Condition of every transaction of this leader: a later leader's existence makes it false for ever. */
  readonly guard: readonly Fence[];
}

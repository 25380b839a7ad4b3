/** What the steps of a saga work with. */
import { type DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { readOwner } from "@drayage/shared/etcd/change-owner.ts";
import type { EtcdPort } from "@drayage/shared/etcd/etcd-port.ts";
import type { Order, SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { OwnerRecord } from "@drayage/shared/state/owner.ts";
import type { EventLog } from "../cluster/event-log.ts";
import type { Leadership } from "../election/leadership.ts";
import type { CoordinatorMetrics } from "@drayage/shared/observe/metrics.ts";
import type { Agents } from "../orders/agent-orders.ts";
import type { Journal } from "./journal.ts";

export interface SagaTimes {
  /** How long an agent may be away before the record says so. */
  readonly graceMs: number;
  /** How long to try for clean-up that each agent also does by itself. */
  readonly tidyMs: number;
}

export const SAGA_TIMES: SagaTimes = { graceMs: 30_000, tidyMs: 600_000 };

export interface SagaContext {
  /** Name of this coordinator, for times measured here. */
  readonly coordinator: string;
  readonly etcd: EtcdPort;
  readonly leadership: Leadership;
  readonly agents: Agents;
  readonly journal: Journal;
  readonly events: EventLog;
  readonly metrics: CoordinatorMetrics;
  readonly logger: Logger;
  readonly times: SagaTimes;
  /** From the preflight of this same leader; read anew if absent. */
  readonly description: SourceDescription | null;
  /** Fires when the migration is to be rolled back: cancel or timeout, as a DrayError. */
  readonly stop: AbortSignal;
}

export function orderOf(context: SagaContext): Order {
  return { migrationId: context.journal.record.id, term: context.leadership.term };
}

/** True for failures that mean: another leader gives the orders, say and do nothing more. */
export function isDeposed(context: SagaContext, error: DrayError): boolean {
  return context.leadership.lost.aborted || error.reason === "NOT_LEADER" || error.reason === "STALE_TERM";
}

/** The owner key, read until etcd answers or the leadership ends. */
export async function ownerNow(context: SagaContext): Promise<OwnerRecord | null> {
  for (;;) {
    try {
      const stored = await readOwner(context.etcd, context.journal.record.containerUuid, {
        signal: context.leadership.lost,
      });
      return stored?.record ?? null;
    } catch (thrown) {
      const error = toDrayError(thrown);
      if (error.reason !== "ETCD_UNAVAILABLE" || context.leadership.lost.aborted) throw error;
    }
  }
}

/** What every part of the source's side works with. */
import { type Logger, migrationLogger } from "@drayage/shared/observe/logger.ts";
import type { AgentHost } from "./agent-host.ts";
import { OutgoingTransfer } from "./outgoing-transfer.ts";
import type { PersistOptions } from "./persist.ts";
import type { PhaseContext } from "./run-phase.ts";
import { SourceContainer } from "./source-container.ts";
import type { SourceRecord } from "./source-record.ts";
import { Standstill } from "./standstill.ts";

const PERSIST_MS = 2_000;
/** Where only a person can find out, who is to find more than this in the log. */
const PERSIST_UNKNOWN_MS = 60_000;

export interface SourceContext {
  readonly host: AgentHost;
  readonly logger: Logger;
  readonly record: SourceRecord;
  readonly container: SourceContainer;
  readonly transfer: OutgoingTransfer;
  /** For `runPhase`. */
  readonly phases: PhaseContext;
  /** Of the container, until it runs here again. */
  readonly standstill: Standstill;
  /** For `persist`. */
  readonly persistence: PersistOptions;
}

export function sourceContext(host: AgentHost, record: SourceRecord): SourceContext {
  const { entry } = record;
  const { node, metrics, stopping } = host;
  const logger = migrationLogger(host.logger, entry.migrationId, { role: "source" });
  return {
    host,
    logger,
    record,
    container: new SourceContainer(host, entry),
    transfer: new OutgoingTransfer(host, entry, logger),
    phases: { migrationId: entry.migrationId, node, logger, metrics, times: [], stopping },
    standstill: new Standstill(),
    persistence: {
      stopping,
      logger,
      pauseMs: ({ reason }) => (reason === "OUTCOME_UNKNOWN" ? PERSIST_UNKNOWN_MS : PERSIST_MS),
    },
  };
}

/** Everything of this host that a migration uses, opened once by main.ts. */
import type { AgentConfig } from "@drayage/shared/config/agent.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import type { AgentMetrics } from "@drayage/shared/observe/metrics.ts";
import type { LaneThreads } from "@drayage/shared/page-stream/lanes/lane-threads.ts";
import type { TransferServer } from "@drayage/shared/page-stream/transfer-types.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { HostFactsSource } from "../host-facts/host-facts.ts";
import type { Identities } from "../identities/identities.ts";
import type { Journal } from "../journal/journal.ts";
import type { Listing } from "../registration/listing.ts";
import type { RuntimeGate } from "../runtime-gate/runtime-gate.ts";
import type { StartBars } from "../runtime-gate/start-bars.ts";
import type { Ownership } from "./ownership.ts";

export interface AgentHost {
  readonly node: string;
  readonly config: AgentConfig;
  readonly identity: Identity;
  readonly docker: DockerPort;
  readonly gate: RuntimeGate;
  readonly bars: StartBars;
  readonly transferServer: TransferServer;
  /** Undefined if all of a transfer goes over one connection. */
  readonly lanes: LaneThreads | undefined;
  /** Where other agents reach it, "host:port", best first. */
  readonly pageAddresses: string[];
  readonly ownership: Ownership;
  readonly journal: Journal;
  readonly identities: Identities;
  readonly hostFacts: HostFactsSource;
  readonly listing: Listing;
  readonly logger: Logger;
  readonly metrics: AgentMetrics;
  /** Fires when the agent stops. */
  readonly stopping: AbortSignal;
}

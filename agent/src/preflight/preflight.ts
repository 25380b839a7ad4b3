import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Finding } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { HostFactsSource } from "../host-facts/host-facts.ts";
import type { Identities } from "../identities/identities.ts";

export interface PreflightContext {
  readonly docker: DockerPort;
  readonly hostFacts: HostFactsSource;
  readonly identities: Identities;
  /** Name of this node. */
  readonly node: string;
  readonly signal?: AbortSignal | undefined;
}

/** Findings that `allowFlags` accept come back as notes. Touches nothing. */
export declare function inspectSource(
  context: PreflightContext,
  dockerId: string,
  allowFlags: readonly string[],
): Promise<{ description: SourceDescription; findings: Finding[] }>;

export declare function checkDestination(
  context: PreflightContext,
  description: SourceDescription,
  sourceNode: string,
  allowFlags: readonly string[],
): Promise<{ findings: Finding[]; imagePresent: boolean }>;

/** True if the findings refuse the migration. */
export declare function refuses(findings: readonly Finding[]): boolean;

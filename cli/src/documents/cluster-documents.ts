/** Nodes, containers, verdicts and events as `--json` prints them. */
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Container, Event, Node, NodeVerdict } from "@drayage/shared/gen/drayage/coordinator/v1/cluster.ts";
import { findingDocument, type FindingDocument } from "./finding-document.ts";
import { timestamp } from "./timestamp.ts";

export interface NodeDocument {
  readonly name: string;
  readonly state: string;
  readonly problems: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  readonly memory_total_bytes: number;
  readonly memory_available_bytes: number;
  readonly cpus: number;
  readonly running_containers: number;
  readonly registered_at: string;
  /** Empty for a node that is up. */
  readonly last_seen: string;
  readonly host: HostDocument | null;
}

export interface HostDocument {
  readonly architecture: string;
  readonly kernel: string;
  readonly docker_version: string;
  readonly runc_version: string;
  readonly criu_version: string;
  readonly drayage_version: string;
  readonly cgroup_version: string;
  readonly cgroup_driver: string;
  readonly criu_features: readonly string[];
  readonly security_profiles: readonly string[];
  readonly cpu_flags: readonly string[];
}

export function nodeDocument(node: Node): NodeDocument {
  return {
    name: node.name,
    state: node.state,
    problems: node.problems,
    labels: node.labels,
    addresses: node.addresses,
    memory_total_bytes: node.memoryTotalBytes,
    memory_available_bytes: node.memoryAvailableBytes,
    cpus: node.cpus,
    running_containers: node.runningContainers,
    registered_at: timestamp(node.registeredAtMs),
    last_seen: timestamp(node.lastSeenMs),
    host: node.host ? hostDocument(node.host) : null,
  };
}

function hostDocument(host: HostFacts): HostDocument {
  return {
    architecture: host.architecture,
    kernel: host.kernel,
    docker_version: host.dockerVersion,
    runc_version: host.runcVersion,
    criu_version: criuVersion(host.criuVersion),
    drayage_version: host.drayageVersion,
    cgroup_version: host.cgroupVersion,
    cgroup_driver: host.cgroupDriver,
    criu_features: host.criuFeatures,
    security_profiles: host.securityProfiles,
    cpu_flags: host.cpuFlags,
  };
}

/** 40201 is "4.2.1"; empty if CRIU is missing. */
export function criuVersion(version: number): string {
  if (version === 0) return "";
  return `${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
}

export interface ContainerDocument {
  readonly name: string;
  readonly uuid: string;
  readonly docker_id: string;
  readonly node: string;
  readonly image: string;
  readonly state: string;
  readonly runtime: string;
  readonly epoch: number;
  /** Migration under way; empty if none. */
  readonly migration_id: string;
  readonly addresses: Readonly<Record<string, string>>;
}

export function containerDocument(container: Container): ContainerDocument {
  return {
    name: container.name,
    uuid: container.uuid,
    docker_id: container.dockerId,
    node: container.node,
    image: container.image,
    state: container.state,
    runtime: container.runtime,
    epoch: container.epoch,
    migration_id: container.migrationId,
    addresses: container.addresses,
  };
}

export interface VerdictDocument {
  readonly node: string;
  readonly ok: boolean;
  readonly findings: readonly FindingDocument[];
}

export function verdictDocument(verdict: NodeVerdict): VerdictDocument {
  return { node: verdict.node, ok: verdict.ok, findings: verdict.findings.map(findingDocument) };
}

export interface EventDocument {
  readonly revision: number;
  readonly at: string;
  readonly type: string;
  readonly node: string;
  readonly container: string;
  readonly migration_id: string;
  readonly message: string;
}

export function eventDocument(event: Event): EventDocument {
  return {
    revision: event.revision,
    at: timestamp(event.atMs),
    type: event.type,
    node: event.node,
    container: event.container,
    migration_id: event.migrationId,
    message: event.message,
  };
}

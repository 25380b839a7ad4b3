/** What an agent publishes of its host, attached to its lease. */
import { z } from "zod";

export const HostFactsRecord = z.object({
  kernel: z.string(),
  /** major * 10000 + minor * 100 + patch; 0 if CRIU is missing. */
  criuVersion: z.number().int(),
  architecture: z.string(),
  cpuFlags: z.array(z.string()),
  cgroupVersion: z.string(),
  cgroupDriver: z.string(),
  criuFeatures: z.array(z.string()),
  dockerVersion: z.string(),
  runcVersion: z.string(),
  drayageVersion: z.string(),
  securityProfiles: z.array(z.string()),
  /** What `criu check` has against this kernel; empty if nothing. */
  criuObjection: z.string().default(""),
});
export type HostFactsRecord = z.infer<typeof HostFactsRecord>;

export const NodeRecord = z.object({
  name: z.string(),
  labels: z.record(z.string(), z.string()),
  /** "host:port" of the agent's gRPC API. */
  addresses: z.array(z.string()),
  /** "host:port" of the agent's page socket, best first. */
  pageAddresses: z.array(z.string()).default([]),
  host: HostFactsRecord,
  memoryTotalBytes: z.number().int(),
  memoryAvailableBytes: z.number().int(),
  cpus: z.number().int(),
  runningContainers: z.number().int(),
  /** Why the node cannot take part now; empty if it can. */
  problems: z.array(z.string()),
  registeredAtMs: z.number(),
});
export type NodeRecord = z.infer<typeof NodeRecord>;

/** What remains of a node when its lease has ended. */
export const KnownNodeRecord = z.object({
  /** As it was published when its state changed last. */
  node: NodeRecord,
  /** Since the Unix epoch, by the leader's clock; when it wrote this. */
  lastSeenMs: z.number(),
});
export type KnownNodeRecord = z.infer<typeof KnownNodeRecord>;

export const InventoryRecord = z.object({
  uuid: z.string(),
  dockerId: z.string(),
  name: z.string(),
  node: z.string(),
  image: z.string(),
  /** Docker's word: running, paused, exited, created, restarting, dead. */
  state: z.string(),
  runtime: z.string(),
  /** IP addresses by network name. */
  addresses: z.record(z.string(), z.string()),
});
export type InventoryRecord = z.infer<typeof InventoryRecord>;

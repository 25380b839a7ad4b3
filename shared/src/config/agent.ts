/** agent.yaml. */
import { hostname, networkInterfaces, totalmem } from "node:os";
import { z } from "zod";
import { LANE_LIMIT } from "../page-stream/messages.ts";
import { absolutePath, address, etcdEndpoints, host, leaseTtlSeconds, logLevel } from "./fields.ts";
import { loadConfig } from "./load.ts";
import { ownAddresses } from "./own-addresses.ts";

export const AGENT_CONFIG_FILE = "/etc/drayage/agent.yaml";

const CONNECTIONS_ERROR = `must be "auto" or a whole number from 1 to ${LANE_LIMIT}`;

export const AgentConfigSchema = z.object({
  /** Name of the node; must be the one in the agent's certificate. */
  node: z.string().min(1).default(hostname),
  /** If given, must be the cluster in the agent's certificate. */
  cluster: z.string().min(1).optional(),
  /** gRPC API. */
  listen: address().default("0.0.0.0:7400"),
  /** Page stream from other agents. */
  pageListen: address().default("0.0.0.0:7401"),
  /**
   * Connections over which the content of large files goes, each with a thread of its own; 1 for none but the one that
   * carries everything. "auto": half as many as the host has cores, 4 at most, and 1 below 4 cores.
   */
  pageConnections: z
    .union([z.literal("auto"), z.number()], { error: CONNECTIONS_ERROR })
    .refine((given) => given === "auto" || (Number.isInteger(given) && given >= 1 && given <= LANE_LIMIT), {
      error: CONNECTIONS_ERROR,
    })
    // Others need ports that firewalls have to let through, and memory.
    .default(1),
  /** Where the first of several listens, on the host of pageListen; the others on the ports after it. */
  pageLanePort: z
    .number()
    .int()
    .min(1)
    .max(65_536 - LANE_LIMIT)
    .default(7421),
  /** Hosts, without port, under which others reach this one; its own addresses if none are given. */
  advertiseAddresses: z.array(host()).default([]),
  /** /metrics, /healthz, /readyz. */
  metricsListen: address().default("127.0.0.1:7402"),
  etcdEndpoints: etcdEndpoints(),
  pkiDirectory: absolutePath().default("/etc/drayage/pki"),
  stateDirectory: absolutePath().default("/var/lib/drayage"),
  runDirectory: absolutePath().default("/run/drayage"),
  dockerSocket: absolutePath().default("/var/run/docker.sock"),
  /** Where Docker's runc keeps its state. */
  runcRoot: absolutePath().default("/run/docker/runtime-runc/moby"),
  /** For placement; shown by `dray node ls`. */
  labels: z.record(z.string(), z.string()).default({}),
  leaseTtlSeconds: leaseTtlSeconds(),
  /** Images in transit larger than this go to disk; a quarter of the memory if not given. */
  imageTmpfsLimitBytes: z
    .number()
    .int()
    .nonnegative()
    .default(() => Math.floor(totalmem() / 4)),
  logLevel: logLevel(),
});
export type AgentConfig = z.output<typeof AgentConfigSchema>;

export interface AgentConfigSources {
  readonly path?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** BAD_CONFIG names file, key and remedy. */
export async function loadAgentConfig(sources: AgentConfigSources = {}): Promise<AgentConfig> {
  const config = await loadConfig(AgentConfigSchema, {
    ...sources,
    path: sources.path ?? AGENT_CONFIG_FILE,
    required: sources.path !== undefined,
  });
  if (config.advertiseAddresses.length > 0) return config;
  return { ...config, advertiseAddresses: ownAddresses(networkInterfaces()) };
}

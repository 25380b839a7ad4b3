/** coordinator.yaml. */
import { hostname, networkInterfaces } from "node:os";
import { z } from "zod";
import { absolutePath, address, etcdEndpoints, host, leaseTtlSeconds, logLevel } from "./fields.ts";
import { loadConfig } from "./load.ts";
import { ownAddresses } from "./own-addresses.ts";

export const COORDINATOR_CONFIG_FILE = "/etc/drayage/coordinator.yaml";

export const CoordinatorConfigSchema = z.object({
  /** Name of this coordinator; must be the one in its certificate. */
  name: z.string().min(1).default(hostname),
  /** If given, must be the cluster in the coordinator's certificate. */
  cluster: z.string().min(1).optional(),
  /** gRPC API. */
  listen: address().default("0.0.0.0:7410"),
  /** Hosts, without port, under which others reach this one; its own addresses if none are given. */
  advertiseAddresses: z.array(host()).default([]),
  /** /metrics, /healthz, /readyz. */
  metricsListen: address().default("127.0.0.1:7412"),
  etcdEndpoints: etcdEndpoints(),
  pkiDirectory: absolutePath().default("/etc/drayage/pki"),
  leaseTtlSeconds: leaseTtlSeconds(),
  logLevel: logLevel(),
});
export type CoordinatorConfig = z.output<typeof CoordinatorConfigSchema>;

export interface CoordinatorConfigSources {
  readonly path?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly flags?: Readonly<Record<string, unknown>>;
}

/** BAD_CONFIG names file, key and remedy. */
export async function loadCoordinatorConfig(sources: CoordinatorConfigSources = {}): Promise<CoordinatorConfig> {
  const config = await loadConfig(CoordinatorConfigSchema, {
    ...sources,
    path: sources.path ?? COORDINATOR_CONFIG_FILE,
    required: sources.path !== undefined,
  });
  if (config.advertiseAddresses.length > 0) return config;
  return { ...config, advertiseAddresses: ownAddresses(networkInterfaces()) };
}

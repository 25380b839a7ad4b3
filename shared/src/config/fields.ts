/** Kinds of values that several configuration files have in common. */
import { isAbsolute } from "node:path";
import { z } from "zod";
import { LOG_LEVELS } from "../observe/logger.ts";
import { isAddress } from "./address.ts";

export const address = () => z.string().refine(isAddress, { error: 'must be "host:port"' });

export const host = () =>
  z
    .string()
    .regex(/^(?:[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+)$/, { error: "must be a host name or an IP address, without port" });

export const absolutePath = () => z.string().refine(isAbsolute, { error: "must be an absolute path" });

export const etcdEndpoints = () =>
  z.array(z.string().regex(/^https:\/\/[^/\s]+:\d+$/, { error: 'must be "https://host:port"' })).min(1, {
    error: "must name at least one endpoint",
  });

/** Time after which etcd takes the keys of a silent member away; etcd itself needs some time to notice. */
export const leaseTtlSeconds = () =>
  z.number().int().min(2, { error: "must be at least 2" }).max(600, { error: "must be at most 600" }).default(5);

export const logLevel = () => z.enum(LOG_LEVELS).default("info");

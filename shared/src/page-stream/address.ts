/** "host:port" with an IPv6 host in brackets. */
import { DrayError } from "../errors/dray-error.ts";

export function parseAddress(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port <= 65_535)) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(address)} is not host:port`);
  }
  return { host, port };
}

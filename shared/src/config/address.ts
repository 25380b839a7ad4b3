/** "host:port", with IPv6 hosts in brackets. */
import { DrayError } from "../errors/dray-error.ts";

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;
const HIGHEST_PORT = 65_535;

export function isAddress(text: string): boolean {
  const port = ADDRESS.exec(text)?.[3];
  return port !== undefined && Number(port) <= HIGHEST_PORT;
}

/** BAD_REQUEST for anything that is not "host:port". */
export function splitAddress(text: string): HostAndPort {
  const match = ADDRESS.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > HIGHEST_PORT) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(text)} is not an address`, {
      remedy: 'Write it as "host:port", or "[address]:port" for IPv6.',
    });
  }
  return { host, port };
}

export function joinAddress(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

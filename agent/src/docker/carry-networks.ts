/** Attachments and published ports of a container, as they are to be on another host. Pure. */
import type { ContainerInspect, EndpointSettings, Json, JsonObject, NetworkInspect } from "./types.ts";

/** Modes in which Docker attaches no network by name. */
const WITHOUT_ENDPOINTS = /^(none|host|container:.*)$/;
/** Docker's own bridge takes no addresses from users. */
const DEFAULT_BRIDGE = "bridge";

/** EndpointsConfig of the create request. */
export function carryEndpoints(
  inspect: ContainerInspect,
  networks: readonly NetworkInspect[],
): { readonly [network: string]: JsonObject } {
  if (WITHOUT_ENDPOINTS.test(networkMode(inspect))) return {};
  const endpoints: Record<string, JsonObject> = {};
  for (const [name, endpoint] of Object.entries(inspect.NetworkSettings.Networks)) {
    const network = networks.find((candidate) => candidate.Name === name || candidate.Id === endpoint.NetworkID);
    endpoints[name] = withoutAbsent({
      IPAMConfig: addressesOf(name, endpoint, network),
      MacAddress: emptyToAbsent(endpoint.MacAddress),
      Aliases: name === DEFAULT_BRIDGE ? undefined : aliasesOf(inspect, endpoint),
      Links: endpoint.Links?.length ? endpoint.Links : undefined,
      DriverOpts: endpoint.DriverOpts && Object.keys(endpoint.DriverOpts).length > 0 ? endpoint.DriverOpts : undefined,
      GwPriority: endpoint.GwPriority || undefined,
    });
  }
  return endpoints;
}

/** The mode with a network's name in place of its id, which is another on another host. */
export function networkMode(inspect: ContainerInspect): string {
  const mode = String(inspect.HostConfig.NetworkMode ?? "default");
  for (const [name, endpoint] of Object.entries(inspect.NetworkSettings.Networks)) {
    if (endpoint.NetworkID !== undefined && mode.length >= 12 && endpoint.NetworkID.startsWith(mode)) return name;
  }
  return mode;
}

/**
 * On a network that both hosts share, the container keeps the very addresses it has. On a bridge, which is each host's
 * own, it keeps what its user asked for.
 */
function addressesOf(
  name: string,
  endpoint: EndpointSettings,
  network: NetworkInspect | undefined,
): JsonObject | undefined {
  if (name === DEFAULT_BRIDGE) return undefined;
  const asked = endpoint.IPAMConfig ?? {};
  const shared = network !== undefined && network.Driver !== "bridge";
  const addresses = withoutAbsent({
    IPv4Address: emptyToAbsent(asked.IPv4Address) ?? (shared ? emptyToAbsent(endpoint.IPAddress) : undefined),
    IPv6Address: emptyToAbsent(asked.IPv6Address) ?? (shared ? emptyToAbsent(endpoint.GlobalIPv6Address) : undefined),
    LinkLocalIPs: asked.LinkLocalIPs?.length ? asked.LinkLocalIPs : undefined,
  });
  return Object.keys(addresses).length === 0 ? undefined : addresses;
}

/** Docker adds the short id and the host name by itself. */
function aliasesOf(inspect: ContainerInspect, endpoint: EndpointSettings): readonly string[] | undefined {
  const own = new Set([inspect.Id.slice(0, 12), String(inspect.Config.Hostname ?? "")]);
  const aliases = (endpoint.Aliases ?? []).filter((alias) => !own.has(alias));
  return aliases.length === 0 ? undefined : aliases;
}

/** Bindings with the ports that Docker chose where the user left the choice to it. */
export function carryPorts(inspect: ContainerInspect): Json {
  const asked = (inspect.HostConfig.PortBindings ?? {}) as Readonly<Record<string, readonly PortBinding[] | null>>;
  const given = inspect.NetworkSettings.Ports ?? {};
  const carried: Record<string, Json> = {};
  const ports = inspect.HostConfig.PublishAllPorts === true ? { ...given, ...asked } : asked;
  for (const port of Object.keys(ports)) {
    const bindings = asked[port] ?? [];
    const open = bindings.length === 0 || bindings.some(({ HostPort }) => HostPort === "" || HostPort === "0");
    const chosen = given[port] ?? [];
    const carry = open && chosen.length > 0 ? anyAddressOnce(chosen) : bindings;
    if (carry.length > 0)
      carried[port] = carry.map(({ HostIp, HostPort }) => ({ HostIp: HostIp ?? "", HostPort: HostPort ?? "" }));
  }
  return carried;
}

interface PortBinding {
  readonly HostIp?: string;
  readonly HostPort?: string;
}

/** Docker shows a port on all addresses twice, for IPv4 and IPv6; asked for is one with no address. */
function anyAddressOnce(bindings: readonly PortBinding[]): readonly PortBinding[] {
  const found = new Map<string, PortBinding>();
  for (const { HostIp, HostPort } of bindings) {
    const address = HostIp === "0.0.0.0" || HostIp === "::" || HostIp === undefined ? "" : HostIp;
    found.set(`${address} ${HostPort}`, { HostIp: address, HostPort: HostPort ?? "" });
  }
  return [...found.values()];
}

function emptyToAbsent(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

function withoutAbsent(fields: Readonly<Record<string, Json | undefined>>): JsonObject {
  const present = Object.entries(fields).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  return Object.fromEntries(present);
}

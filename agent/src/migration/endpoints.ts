/** Where a container is attached, as locking and announcing need it. Pure. */
import type { ContainerInspect, NetworkInspect } from "../docker/types.ts";

export interface Endpoint {
  /** Name of the Docker network. */
  readonly network: string;
  readonly driver: string;
  /** Host interface through which its frames leave; empty if there is none to name (host, none). */
  readonly parent: string;
  /** Lower case, colons; empty if it has none. */
  readonly mac: string;
  /** Without prefix length; empty if it has none. */
  readonly ipv4: string;
  readonly ipv6: string;
}

/**
 * The endpoints of a container, by network name. `networks` are this host's;
 * a container that does not run has the addresses that it asked for.
 */
export function endpointsOf(inspect: ContainerInspect, networks: readonly NetworkInspect[]): Endpoint[] {
  return Object.entries(inspect.NetworkSettings.Networks).map(([name, settings]) => {
    const network = networks.find((candidate) => candidate.Name === name || candidate.Id === settings.NetworkID);
    return {
      network: name,
      driver: network?.Driver ?? "",
      parent: network === undefined ? "" : parentOf(network),
      mac: (settings.MacAddress ?? "").toLowerCase(),
      ipv4: settings.IPAddress || settings.IPAMConfig?.IPv4Address || "",
      ipv6: settings.GlobalIPv6Address || settings.IPAMConfig?.IPv6Address || "",
    };
  });
}

function parentOf(network: NetworkInspect): string {
  switch (network.Driver) {
    case "macvlan":
      return network.Options?.parent ?? "";
    case "bridge":
      return network.Options?.["com.docker.network.bridge.name"] ?? `br-${network.Id.slice(0, 12)}`;
    default:
      return "";
  }
}

/** MAC addresses to block, by parent interface. */
export function macsByParent(endpoints: readonly Endpoint[]): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const { parent, mac } of endpoints) {
    if (parent !== "" && mac !== "") result.set(parent, [...(result.get(parent) ?? []), mac]);
  }
  return result;
}

/** Networks, addresses, ports, names. */
import { isDeepStrictEqual } from "node:util";
import type { ContainerInspect, NetworkInspect } from "../../docker/types.ts";
import { ALLOW_CONNECTION_LOSS, connectionsBehindBridge } from "../bridge-connections.ts";
import { type Check, when } from "../check.ts";
import type { DestinationFacts } from "../destination-facts.ts";
import type { SourceFacts } from "../source-facts.ts";

export const SOURCE_NETWORK_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "connections-behind-bridge",
    severity: ALLOW_CONNECTION_LOSS,
    find: ({ networks, establishedConnections }) => {
      const bridges = networks.filter(({ Driver }) => Driver === "bridge").map(({ Name }) => Name);
      return connectionsBehindBridge(bridges, establishedConnections);
    },
  },
  {
    code: "bridge-network",
    severity: "note",
    find: ({ networks, establishedConnections }) =>
      networks
        .filter(({ Driver }) => Driver === "bridge" && establishedConnections === 0)
        .map(({ Name }) => ({
          message: `The container is on the bridge network ${Name}, which is each host's own.`,
          remedy: `A connection that is open at the switch ends the migration, without ${ALLOW_CONNECTION_LOSS}; those of a macvlan network would live on.`,
        })),
  },
  {
    code: "published-ports",
    severity: "note",
    find: ({ inspect }) => {
      const ports = publishedPorts(inspect).map(({ protocol, port }) => `${port}/${protocol}`);
      return when(
        ports.length > 0,
        `The published ports ${ports.join(", ")} are reached at the destination's address after the migration.`,
        "Tell clients the new address, or publish behind a name that you move.",
      );
    },
  },
];

export const DESTINATION_NETWORK_CHECKS: readonly Check<DestinationFacts>[] = [
  {
    code: "network-missing",
    severity: "blocking",
    find: ({ sourceNetworks, networks }) =>
      sourceNetworks
        .filter((network) => counterpart(network, networks) === undefined)
        .map((network) => ({
          message: `The network ${network.Name} (${network.Driver}) does not exist here.`,
          remedy: `Create it here: \`docker network create -d ${network.Driver} …\`, with the same subnet.`,
        })),
  },
  {
    code: "network-differs",
    severity: "blocking",
    find: ({ sourceNetworks, networks }) =>
      sourceNetworks.flatMap((network) => {
        const here = counterpart(network, networks);
        if (here === undefined) return [];
        if (here.Driver !== network.Driver) {
          return [
            {
              message: `The network ${network.Name} is ${here.Driver} here and ${network.Driver} on the source.`,
              remedy: "Create it with the same driver on both hosts.",
            },
          ];
        }
        // A bridge is each host's own; only an address that the user asked for must fit, and Docker checks that.
        const differ = network.Driver !== "bridge" && !isDeepStrictEqual(subnets(here), subnets(network));
        return when(
          differ,
          `The network ${network.Name} has the subnet ${subnets(here).join(", ")} here and ${subnets(network).join(", ")} on the source.`,
          "Create it with the same subnet on both hosts.",
        );
      }),
  },
  {
    code: "address-taken",
    severity: "blocking",
    find: ({ inspect, networks }) =>
      Object.entries(inspect.NetworkSettings.Networks).flatMap(([name, endpoint]) => {
        const here = networks.find((network) => network.Name === name && network.Driver !== "bridge");
        return Object.values(here?.Containers ?? {}).flatMap((holder) =>
          [holder.IPv4Address, holder.IPv6Address]
            .map((address) => address.split("/")[0] ?? "")
            .filter((taken) => taken !== "" && [endpoint.IPAddress, endpoint.GlobalIPv6Address].includes(taken))
            .map((taken) => ({
              message: `The container ${holder.Name} has the address ${taken} on ${name} here.`,
              remedy: "Remove it or give it another address; addresses must be unique on the network of all hosts.",
            })),
        );
      }),
  },
  {
    code: "address-answered-by-another",
    severity: "blocking",
    find: ({ inspect, answers }) =>
      answers
        .filter(({ mac }) => mac !== undefined && !macsOf(inspect).has(mac))
        .map(({ address, device, mac }) => ({
          message: `The address ${address} is answered on ${device} by ${mac}, which is not the container.`,
          remedy: "Find who has that hardware address (`ip neigh`), and give one of the two another address.",
        })),
  },
  {
    code: "address-not-checked",
    severity: "note",
    find: ({ unasked }) =>
      unasked.map(({ address, why }) => ({
        message: `Whether somebody else has the address ${address} was not checked: ${why}.`,
        remedy: "Make sure that the address is unique on the network.",
      })),
  },
  {
    code: "address-unanswered",
    severity: "note",
    find: ({ answers }) =>
      answers
        .filter(({ mac }) => mac === undefined)
        .map(({ address, device }) => ({
          message: `Nobody, not even the container itself, answers for ${address} on ${device}.`,
          remedy: "Check that both hosts are on one layer 2 network; without it the connections do not live on.",
        })),
  },
  {
    code: "port-taken",
    severity: "blocking",
    find: ({ inspect, listening }) =>
      publishedPorts(inspect)
        .filter(({ protocol, port, address }) =>
          listening.some(
            (other) =>
              other.protocol === protocol &&
              other.port === port &&
              (other.address === "*" || address === "*" || other.address === address),
          ),
        )
        .map(({ protocol, port }) => ({
          message: `The published port ${port}/${protocol} is in use here.`,
          remedy: `See who listens with \`ss -lnp sport = :${port}\`, and stop it or choose another host.`,
        })),
  },
  {
    code: "name-taken",
    severity: "blocking",
    find: ({ inspect, containers }) => {
      const holder = containers.find(({ Names }) => Names.includes(inspect.Name));
      return when(
        holder !== undefined,
        `A container named ${inspect.Name.slice(1)} exists here (${holder?.Id.slice(0, 12)}, ${holder?.State}).`,
        "Remove or rename it.",
      );
    },
  },
];

interface PublishedPort {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
}

/** Ports that Docker holds for the container now; what was asked for if there are none. */
function publishedPorts(inspect: ContainerInspect): PublishedPort[] {
  const ports = inspect.NetworkSettings.Ports ?? {};
  const found = new Map<string, PublishedPort>();
  for (const [name, bindings] of Object.entries(ports)) {
    const protocol = name.endsWith("/udp") ? "udp" : "tcp";
    for (const { HostIp, HostPort } of bindings ?? []) {
      const address = ["", "0.0.0.0", "::"].includes(HostIp) ? "*" : HostIp;
      if (Number(HostPort) > 0) {
        found.set(`${protocol} ${address} ${HostPort}`, { protocol, address, port: Number(HostPort) });
      }
    }
  }
  return [...found.values()];
}

function counterpart(network: NetworkInspect, networks: readonly NetworkInspect[]): NetworkInspect | undefined {
  return networks.find(({ Name }) => Name === network.Name);
}

function subnets(network: NetworkInspect): string[] {
  return (network.IPAM?.Config ?? []).flatMap(({ Subnet }) => (Subnet === undefined ? [] : [Subnet])).sort();
}

function macsOf(inspect: ContainerInspect): Set<string> {
  return new Set(
    Object.values(inspect.NetworkSettings.Networks).map(({ MacAddress }) => (MacAddress ?? "").toLowerCase()),
  );
}

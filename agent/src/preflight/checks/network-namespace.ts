/** What was set up in the container's network namespace beside what Docker sets up: the copy would be without it. */
import type { ContainerInspect } from "../../docker/types.ts";
import { type Check, when } from "../check.ts";
import type { Words } from "../finding.ts";
import type { Route } from "../network-namespace.ts";
import type { SourceFacts } from "../source-facts.ts";

/** Docker's networks whose default route is not that of an endpoint: overlay networks go out by a bridge of Docker's. */
const WITH_OWN_GATEWAY = new Set(["bridge", "macvlan", "ipvlan"]);
/** As Docker names them, that bridge's among them. */
const DOCKERS_INTERFACE = /^eth[0-9]+$/;

export const NETWORK_NAMESPACE_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "packet-filter-inside",
    severity: "blocking",
    find: ({ networkNamespace: { filters } }) =>
      lost(
        "packet filter rules",
        filters.map(({ table, rules }) => `${rules} in table ${table}`),
        "Filter on the host or in the network instead, or remove the rules (nft or iptables in the container) before, and make them anew after the migration.",
      ),
  },
  {
    code: "traffic-control-inside",
    severity: "blocking",
    find: ({ networkNamespace: { qdiscs } }) =>
      lost(
        "traffic control",
        qdiscs.map(({ kind, device }) => `${kind} on ${device}`),
        "Shape on the host instead, or remove it (`tc qdisc del`) before, and make it anew after the migration.",
      ),
  },
  {
    code: "routes-inside",
    severity: "blocking",
    find: ({ inspect, networks, networkNamespace: { routes } }) => {
      const gateways = gatewaysOf(inspect);
      const anyDefault = networks.some(({ Driver }) => !WITH_OWN_GATEWAY.has(Driver));
      return lost(
        "routes",
        routes.filter((route) => !isDockers(route, gateways, anyDefault)).map(describeRoute),
        "Put them into the network's router instead, or remove them (`ip route del`) before, and make them anew after the migration.",
      );
    },
  },
  {
    code: "routing-rules-inside",
    severity: "blocking",
    find: ({ networkNamespace: { policies } }) =>
      lost(
        "routing rules",
        policies.map(({ priority, table }) => `${priority}: table ${table}`),
        "Remove them (`ip rule del`) before, and make them anew after the migration.",
      ),
  },
  {
    code: "interfaces-inside",
    severity: "blocking",
    find: ({ inspect, networkNamespace: { interfaces } }) => {
      const macs = macsOf(inspect);
      return lost(
        "network interfaces",
        interfaces
          .filter(({ name, mac, up }) => up && name !== "lo" && !DOCKERS_INTERFACE.test(name) && !macs.has(mac))
          .map(({ name }) => name),
        "Start the container without what makes them (a VPN, a tunnel), or reach it over a network of Docker's.",
      );
    },
  },
  {
    code: "addresses-inside",
    severity: "blocking",
    find: ({ inspect, networkNamespace: { interfaces } }) => {
      const macs = macsOf(inspect);
      const given = addressesOf(inspect);
      return lost(
        "addresses",
        interfaces
          .filter(({ name, mac }) => name === "lo" || macs.has(mac))
          .flatMap(({ name, addresses }) =>
            addresses.filter((address) => !given.has(address)).map((address) => `${address} on ${name}`),
          ),
        "Remove them (`ip address del`), or give them to the container with a network of Docker's.",
      );
    },
  },
  {
    code: "neighbours-inside",
    severity: "blocking",
    find: ({ networkNamespace: { neighbours } }) =>
      lost(
        "lasting neighbour entries",
        neighbours.map(({ address, device }) => `${address} on ${device}`),
        "Remove them (`ip neighbour del`) before, and make them anew after the migration.",
      ),
  },
  {
    code: "virtual-services-inside",
    severity: "blocking",
    find: ({ networkNamespace: { virtualServices } }) =>
      lost(
        "IPVS services",
        virtualServices,
        "Balance on a host or in front of it instead, or remove them (`ipvsadm -C`) before, and make them anew after the migration.",
      ),
  },
  {
    code: "ipsec-inside",
    severity: "blocking",
    find: ({ networkNamespace: { ipsec } }) =>
      lost(
        "IPsec",
        ipsec,
        "Encrypt on the host instead, or stop what sets it up (or `ip xfrm state flush`, `ip xfrm policy flush`) before, and set it up anew after the migration.",
      ),
  },
  {
    code: "sysctls-inside",
    severity: "--allow-sysctl-loss",
    find: ({ inspect, networkNamespace: { sysctls } }) => {
      const given = givenSysctls(inspect);
      const changed = sysctls.filter(({ name, value }) => given.get(name) !== value);
      return when(
        changed.length > 0,
        `Sysctls of the container's network namespace are not what a new one has, and the copy would not have them (they were changed inside, or on the host since the container was started): ${changed.map(({ name, value, fresh }) => `${name} is ${value} instead of ${fresh}`).join(", ")}.`,
        "Give them with `docker run --sysctl`, which moves along.",
      );
    },
  },
];

/** What Docker gives every container, where it does not know better. */
const DOCKERS_SYSCTLS: readonly (readonly [string, string])[] = [
  ["net.ipv4.ip_unprivileged_port_start", "0"],
  ["net.ipv4.ping_group_range", "0 2147483647"],
];

function givenSysctls({ HostConfig }: ContainerInspect): Map<string, string> {
  const asked = Object.entries(HostConfig.Sysctls ?? {});
  return new Map([...DOCKERS_SYSCTLS, ...asked.map(([name, value]) => [name, spaced(String(value))] as const)]);
}

function spaced(value: string): string {
  return value.trim().replace(/\s+/g, " ");
}

function lost(what: string, found: readonly string[], remedy: string): readonly Words[] {
  return when(
    found.length > 0,
    `Somebody has set up ${what} inside the container's network namespace, which the copy would not have: ${found.join(", ")}.`,
    remedy,
  );
}

function isDockers(route: Route, gateways: ReadonlySet<string>, anyDefault: boolean): boolean {
  if (route.table !== "main" || route.multipath) return false;
  if (gateways.has(route.destination)) return true;
  if (route.destination !== "default") return false;
  return route.gateway === "" || gateways.has(route.gateway) || anyDefault;
}

function describeRoute({ destination, gateway, device, table }: Route): string {
  const parts = [destination];
  if (gateway !== "") parts.push(`via ${gateway}`);
  if (device !== "") parts.push(`dev ${device}`);
  if (table !== "main") parts.push(`table ${table}`);
  return parts.join(" ");
}

function gatewaysOf({ NetworkSettings }: ContainerInspect): Set<string> {
  return new Set(
    Object.values(NetworkSettings.Networks).flatMap(({ Gateway, IPv6Gateway }) => present(Gateway, IPv6Gateway)),
  );
}

function addressesOf({ NetworkSettings }: ContainerInspect): Set<string> {
  return new Set(
    Object.values(NetworkSettings.Networks).flatMap(({ IPAddress, GlobalIPv6Address, IPAMConfig }) => [
      ...present(IPAddress, GlobalIPv6Address),
      ...(IPAMConfig?.LinkLocalIPs ?? []),
    ]),
  );
}

function macsOf({ NetworkSettings }: ContainerInspect): Set<string> {
  return new Set(
    Object.values(NetworkSettings.Networks).flatMap(({ MacAddress }) => present(MacAddress?.toLowerCase())),
  );
}

function present(...values: readonly (string | undefined)[]): string[] {
  return values.filter((value): value is string => value !== undefined && value !== "");
}

/**
 * What somebody has set up in a container's network namespace. A move makes a new namespace, in which Docker sets up
 * what it did here: interfaces, addresses, its routes, the rules of its DNS. The parsers leave out what is the
 * kernel's or Docker's own in any case; whether an address or a gateway is Docker's, the checks decide. Pure.
 */
import { z } from "zod";

export interface NetworkNamespace {
  /** Tables with packet filter rules, and how many; "ip filter", "legacy ip filter". */
  readonly filters: readonly FilterTable[];
  readonly qdiscs: readonly Qdisc[];
  readonly routes: readonly Route[];
  /** Routing rules besides the kernel's three. */
  readonly policies: readonly RoutePolicy[];
  readonly interfaces: readonly NetworkInterface[];
  /** Neighbour entries that do not age. */
  readonly neighbours: readonly Neighbour[];
  /** Services of the kernel's load balancer, IPVS. */
  readonly virtualServices: readonly string[];
  /** Associations and policies of IPsec, those of single sockets among them. */
  readonly ipsec: readonly string[];
  /** Those that a namespace made now would have otherwise. */
  readonly sysctls: readonly Sysctl[];
}

export const NOTHING_SET_UP: NetworkNamespace = {
  filters: [],
  qdiscs: [],
  routes: [],
  policies: [],
  interfaces: [],
  neighbours: [],
  virtualServices: [],
  ipsec: [],
  sysctls: [],
};

export interface FilterTable {
  readonly table: string;
  readonly rules: number;
}

export interface Qdisc {
  readonly kind: string;
  readonly device: string;
}

export interface Route {
  readonly destination: string;
  /** Empty if it has none. */
  readonly gateway: string;
  /** Empty if it has none, or several. */
  readonly device: string;
  readonly table: string;
  /** Has several next hops. */
  readonly multipath: boolean;
}

export interface RoutePolicy {
  readonly priority: number;
  readonly table: string;
}

export interface NetworkInterface {
  readonly name: string;
  /** Lower case. */
  readonly mac: string;
  readonly up: boolean;
  /** Without prefix length; those that the kernel has given itself are left out. */
  readonly addresses: readonly string[];
}

export interface Neighbour {
  readonly address: string;
  readonly device: string;
}

export interface Sysctl {
  /** "net.ipv4.tcp_keepalive_time". */
  readonly name: string;
  /** Numbers with one space between. */
  readonly value: string;
  readonly fresh: string;
}

/** Of one rule or chain of `nft -j list ruleset`. */
const RulesetEntry = z.looseObject({
  family: z.string(),
  table: z.string(),
  name: z.string().optional(),
  chain: z.string().optional(),
  policy: z.string().optional(),
});
const Ruleset = z.object({
  nftables: z.array(z.looseObject({ rule: RulesetEntry.optional(), chain: RulesetEntry.optional() })),
});

/** The address of Docker's DNS server, and the chains through which it is reached. */
const DOCKERS_DNS = /"127\.0\.0\.11"|\bDOCKER_(OUTPUT|POSTROUTING)\b/;
const DRAYAGES_OWN = /^drayage_/;

/** `nft -j list ruleset`: counts rules, and chains that drop what no rule accepts. */
export function parseRuleset(json: string): FilterTable[] {
  const counts = new Map<string, number>();
  for (const { rule, chain } of Ruleset.parse(JSON.parse(emptyObject(json))).nftables) {
    const entry = rule ?? (chain?.policy === "drop" ? chain : undefined);
    if (entry === undefined || DRAYAGES_OWN.test(entry.table) || DOCKERS_DNS.test(JSON.stringify(entry))) continue;
    const table = `${entry.family} ${entry.table}`;
    counts.set(table, (counts.get(table) ?? 0) + 1);
  }
  return [...counts].map(([table, rules]) => ({ table, rules }));
}

/** `iptables-legacy-save` or `ip6tables-legacy-save`: the same for the tables that nft does not show. */
export function parseLegacyRules(text: string, family: "ip" | "ip6"): FilterTable[] {
  const counts = new Map<string, number>();
  let table = "";
  for (const line of text.split("\n")) {
    const named = /^\*(\S+)/.exec(line)?.[1];
    if (named !== undefined) table = `legacy ${family} ${named}`;
    const rule = line.startsWith("-A ") && !/\b127\.0\.0\.11\b|\bDOCKER_(OUTPUT|POSTROUTING)\b/.test(line);
    if (rule || /^:\S+ DROP /.test(line)) counts.set(table, (counts.get(table) ?? 0) + 1);
  }
  return [...counts].map(([name, rules]) => ({ table: name, rules }));
}

const Qdiscs = z.array(z.object({ kind: z.string(), handle: z.string(), dev: z.string() }));
/** The kernel's own have no handle. */
const NO_HANDLE = "0:";

/** `tc -j qdisc show`. */
export function parseQdiscs(json: string): Qdisc[] {
  return Qdiscs.parse(JSON.parse(emptyList(json)))
    .filter(({ handle }) => handle !== NO_HANDLE)
    .map(({ kind, dev }) => ({ kind, device: dev }));
}

const Routes = z.array(
  z.object({
    dst: z.string(),
    gateway: z.string().optional(),
    via: z.object({ host: z.string() }).optional(),
    dev: z.string().optional(),
    table: z.string().optional(),
    protocol: z.string().optional(),
    nexthops: z.array(z.unknown()).optional(),
  }),
);
/** Protocols of routes that come by themselves with an address, or with the router's word. */
const BY_THEMSELVES = new Set(["kernel", "ra", "redirect"]);

/** `ip -j route show table all`, of one address family. */
export function parseRoutes(json: string): Route[] {
  return Routes.parse(JSON.parse(emptyList(json)))
    .filter(({ protocol, table }) => !BY_THEMSELVES.has(protocol ?? "") && table !== "local")
    .map(({ dst, gateway, via, dev = "", table = "main", nexthops }) => ({
      destination: dst,
      gateway: gateway ?? via?.host ?? "",
      device: dev,
      table,
      multipath: nexthops !== undefined,
    }));
}

const Policies = z.array(
  z.object({ priority: z.number(), src: z.string().optional(), table: z.string().optional() }).catchall(z.unknown()),
);
const KERNELS_POLICIES: Readonly<Record<number, string>> = { 0: "local", 32766: "main", 32767: "default" };

/** `ip -j rule`, of one address family. */
export function parsePolicies(json: string): RoutePolicy[] {
  return Policies.parse(JSON.parse(emptyList(json)))
    .filter(({ priority, src, table }) => !(src === "all" && table === KERNELS_POLICIES[priority]))
    .map(({ priority, table = "" }) => ({ priority, table }));
}

const Interfaces = z.array(
  z.object({
    ifname: z.string(),
    address: z.string().optional(),
    flags: z.array(z.string()),
    addr_info: z.array(
      z.object({
        family: z.string(),
        local: z.string().optional(),
        scope: z.string(),
        dynamic: z.boolean().optional(),
      }),
    ),
  }),
);

/** `ip -j address`. */
export function parseInterfaces(json: string): NetworkInterface[] {
  return Interfaces.parse(JSON.parse(emptyList(json))).map(({ ifname, address = "", flags, addr_info }) => ({
    name: ifname,
    mac: address.toLowerCase(),
    up: flags.includes("UP"),
    addresses: addr_info
      // Link-local addresses and those from router advertisements come by themselves.
      .filter(({ family, scope, dynamic }) => !(family === "inet6" && (scope === "link" || dynamic === true)))
      .flatMap(({ local }) => (local === undefined || /^(127\.|::1$)/.test(local) ? [] : [local])),
  }));
}

const Neighbours = z.array(z.object({ dst: z.string(), dev: z.string() }));

/** `ip -j neighbour show nud permanent`. */
export function parseNeighbours(json: string): Neighbour[] {
  return Neighbours.parse(JSON.parse(emptyList(json))).map(({ dst, dev }) => ({ address: dst, device: dev }));
}

/** `/proc/net/ip_vs`: protocol and address of each service, as the kernel writes them. */
export function parseVirtualServices(text: string): string[] {
  return text.split("\n").flatMap((line) => /^(?:TCP|UDP|SCTP|FWM)\s+\S+/.exec(line)?.[0].replace(/\s+/, " ") ?? []);
}

/** `ip xfrm state` and `ip xfrm policy`: the line that heads each entry. */
export function parseIpsec(text: string): string[] {
  return text.split("\n").flatMap((line) => (/^\S/.test(line) ? [line.trim()] : []));
}

/** What differs with every namespace, or is Docker's: it switches IPv6 on and off by what the networks have. */
const NOBODYS_SYSCTL = /\.(stable_secret|disable_ipv6|tcp_fastopen_key|nf_conntrack_count)$/;
/** Of one interface, and so only where and when that is there. */
const OF_AN_INTERFACE = /^net\.ipv[46]\.(neigh\.|conf\.(?!(all|default|lo)\.))/;

export function isOfAnInterface(sysctl: string): boolean {
  return OF_AN_INTERFACE.test(sysctl);
}

/** Those of a namespace whose values one made now does not have; both as `grep -r "" /proc/sys/net` tells them. */
export function changedSysctls(inside: string, fresh: string): Sysctl[] {
  const before = parseSysctls(fresh);
  return [...parseSysctls(inside)].flatMap(([name, value]) => {
    const original = before.get(name);
    return original === undefined || original === value || NOBODYS_SYSCTL.test(name) || isOfAnInterface(name)
      ? []
      : [{ name, value, fresh: original }];
  });
}

function parseSysctls(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, path, value] = /^\/proc\/sys\/([^:]+):(.*)$/.exec(line) ?? [];
    if (path !== undefined && value !== undefined)
      values.set(path.replaceAll("/", "."), value.trim().replace(/\s+/g, " "));
  }
  return values;
}

/** The programs print nothing at all where there is nothing. */
function emptyList(json: string): string {
  return json.trim() === "" ? "[]" : json;
}

function emptyObject(json: string): string {
  return json.trim() === "" ? '{"nftables":[]}' : json;
}

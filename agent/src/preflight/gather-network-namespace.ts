/** Looks at a container's network namespace from within, with the host's programs. Reads only. */
import { readFile } from "node:fs/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { inNetworkNamespace, requireOwnNamespace } from "../host/netns.ts";
import { runCommand } from "../host/run-command.ts";
import {
  changedSysctls,
  type FilterTable,
  type NetworkNamespace,
  parseInterfaces,
  parseIpsec,
  parseLegacyRules,
  parseNeighbours,
  parsePolicies,
  parseQdiscs,
  parseRoutes,
  parseRuleset,
  parseVirtualServices,
} from "./network-namespace.ts";

/** Throws DrayError BAD_REQUEST if the process is in the host's namespace, NOT_FOUND if it is gone, COMMAND_FAILED. */
export async function networkNamespaceOf(pid: number, signal?: AbortSignal): Promise<NetworkNamespace> {
  await requireOwnNamespace(pid);
  return readNetworkNamespace(pid, signal);
}

/** As networkNamespaceOf, whosever namespace it is. */
export async function readNetworkNamespace(pid: number, signal?: AbortSignal): Promise<NetworkNamespace> {
  const inside = async (...argv: string[]): Promise<string> =>
    (await runCommand(inNetworkNamespace(pid, argv), { signal })).stdout;
  const [ruleset, legacy4, legacy6, qdiscs, routes4, routes6, policies4, policies6, ...others] = await Promise.all([
    inside("nft", "-j", "list", "ruleset"),
    legacyRules(pid, "ip", inside),
    legacyRules(pid, "ip6", inside),
    inside("tc", "-j", "qdisc", "show"),
    inside("ip", "-4", "-j", "route", "show", "table", "all"),
    inside("ip", "-6", "-j", "route", "show", "table", "all"),
    inside("ip", "-4", "-j", "rule"),
    inside("ip", "-6", "-j", "rule"),
    inside("ip", "-j", "address"),
    inside("ip", "-j", "neighbour", "show", "nud", "permanent"),
    readFile(`/proc/${pid}/net/ip_vs`, "utf8").catch(nothingIfAbsent),
    ipsec(inside),
    runCommand(inNetworkNamespace(pid, READ_SYSCTLS), { signal, okCodes: SYSCTL_CODES }),
    runCommand(["unshare", "--net", "--", ...READ_SYSCTLS], { signal, okCodes: SYSCTL_CODES }),
  ]);
  const [interfaces, neighbours, virtualServices, ipsecEntries, sysctls, freshSysctls] = others;
  return {
    filters: [...parseRuleset(ruleset), ...legacy4, ...legacy6],
    qdiscs: parseQdiscs(qdiscs),
    routes: [...parseRoutes(routes4), ...parseRoutes(routes6)],
    policies: [...parsePolicies(policies4), ...parsePolicies(policies6)],
    interfaces: parseInterfaces(interfaces),
    neighbours: parseNeighbours(neighbours),
    virtualServices: parseVirtualServices(virtualServices),
    ipsec: ipsecEntries,
    sysctls: changedSysctls(sysctls.stdout, freshSysctls.stdout),
  };
}

/** Some can only be written, and an interface may go meanwhile: what cannot be read is left out. */
const READ_SYSCTLS = ["grep", "-rs", "", "/proc/sys/net"];
const SYSCTL_CODES = [0, 2];

/** Kernels without IPsec have no such netlink. */
async function ipsec(inside: (...argv: string[]) => Promise<string>): Promise<string[]> {
  try {
    const [states, policies] = await Promise.all([inside("ip", "xfrm", "state"), inside("ip", "xfrm", "policy")]);
    return [...parseIpsec(states), ...parseIpsec(policies)];
  } catch (thrown) {
    if (thrown instanceof DrayError && /Protocol not supported/.test(thrown.message)) return [];
    throw thrown;
  }
}

/** The old iptables keeps rules that nft does not show; its programs are needed only where it has tables. */
async function legacyRules(
  pid: number,
  family: "ip" | "ip6",
  inside: (...argv: string[]) => Promise<string>,
): Promise<FilterTable[]> {
  const names = await readFile(`/proc/${pid}/net/${family}_tables_names`, "utf8").catch(nothingIfAbsent);
  if (names.trim() === "") return [];
  return parseLegacyRules(await inside(family === "ip" ? "iptables-legacy-save" : "ip6tables-legacy-save"), family);
}

/** Without the module there is no such file. */
function nothingIfAbsent(thrown: NodeJS.ErrnoException): string {
  if (thrown.code === "ENOENT") return "";
  throw thrown;
}

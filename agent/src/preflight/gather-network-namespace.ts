/** Looks at a container's network namespace from within, with the host's programs. Reads only. */
import { readFile } from "node:fs/promises";
import { inNetworkNamespace, requireOwnNamespace } from "../host/netns.ts";
import { runCommand } from "../host/run-command.ts";
import {
  type FilterTable,
  type NetworkNamespace,
  parseInterfaces,
  parseLegacyRules,
  parsePolicies,
  parseQdiscs,
  parseRoutes,
  parseRuleset,
} from "./network-namespace.ts";

/** Throws DrayError BAD_REQUEST if the process is in the host's namespace, NOT_FOUND if it is gone, COMMAND_FAILED. */
export async function networkNamespaceOf(pid: number, signal?: AbortSignal): Promise<NetworkNamespace> {
  await requireOwnNamespace(pid);
  const inside = async (...argv: string[]): Promise<string> =>
    (await runCommand(inNetworkNamespace(pid, argv), { signal })).stdout;
  const [ruleset, legacy4, legacy6, qdiscs, routes4, routes6, policies4, policies6, interfaces] = await Promise.all([
    inside("nft", "-j", "list", "ruleset"),
    legacyRules(pid, "ip", inside),
    legacyRules(pid, "ip6", inside),
    inside("tc", "-j", "qdisc", "show"),
    inside("ip", "-4", "-j", "route", "show", "table", "all"),
    inside("ip", "-6", "-j", "route", "show", "table", "all"),
    inside("ip", "-4", "-j", "rule"),
    inside("ip", "-6", "-j", "rule"),
    inside("ip", "-j", "address"),
  ]);
  return {
    filters: [...parseRuleset(ruleset), ...legacy4, ...legacy6],
    qdiscs: parseQdiscs(qdiscs),
    routes: [...parseRoutes(routes4), ...parseRoutes(routes6)],
    policies: [...parsePolicies(policies4), ...parsePolicies(policies6)],
    interfaces: parseInterfaces(interfaces),
  };
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

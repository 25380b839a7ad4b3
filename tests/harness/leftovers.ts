/** That a migration leaves nothing behind: what Drayage may have made in a node, before and after. */
import { isDeepStrictEqual } from "node:util";
import { eventually } from "./eventually.ts";
import type { TestLab } from "./test-lab.ts";

/** By kind: containers, tables of the packet filter, mounts, units, files, named namespaces. */
export type Residue = Readonly<Record<string, readonly string[]>>;

/**
 * Each line is `kind<TAB>item`. Packet filter tables are looked for in the node's namespace and in every other one that
 * a process or Docker holds. Every listing is taken whole before it is searched, so that one that fails ends the script,
 * and finding nothing does not.
 */
const LOOK = `
each() { printf '%s\\n' "$2" | sed -n "s#^.#$1\\t&#p"; }
tables() { printf '%s\\n' "$2" | sed -n "/drayage/s#^#table\\t$1: #p"; }
listing=$(docker ps --all --no-trunc --format '{{.Names}}')
each container "$listing"
listing=$(nft list tables)
tables node "$listing"
for namespace in /run/docker/netns/*; do
  [ -e "$namespace" ] || continue
  # A container's end may take it away meanwhile.
  listing=$(nsenter --net="$namespace" nft list tables) || { mountpoint -q "$namespace" || continue; exit 1; }
  tables "$namespace" "$listing"
done
awk '$5 ~ /drayage|criu/ { print "mount\\t" $5 }' /proc/self/mountinfo
listing=$(systemctl list-units --all --plain --no-legend 'drayage*' 'criu*')
printf '%s\\n' "$listing" | awk '$1 != "" && $1 !~ /^drayage(-(agent|coordinator)\\.service|[a-z-]*\\.slice)$/ { print "unit\\t" $1 }'
for directory in /run/drayage/restore /run/drayage/sessions /run/drayage/images /run/drayage/tmpfs /var/lib/drayage/images; do
  [ -d "$directory" ] || continue
  listing=$(find "$directory" -mindepth 1 -maxdepth 1)
  each file "$listing"
done
listing=$(ps -eo comm=)
printf '%s\\n' "$listing" | awk '/^(criu|runc|drayage-runc)$/ { print "process\\t" $1 }'
listing=$(ip -brief link show)
printf '%s\\n' "$listing" | awk '/drayage|dray-/ { print "interface\\t" $1 }'
`;

/** Throws if a listing fails: nothing seen is not nothing there. */
export async function residueOf(lab: TestLab, node: string): Promise<Residue> {
  const residue: Record<string, string[]> = {};
  for (const line of (await lab.shell(node, LOOK)).split("\n")) {
    const [kind, item] = line.split("\t");
    if (kind === undefined || item === undefined) continue;
    residue[kind] = [...(residue[kind] ?? []), item].sort();
  }
  return residue;
}

export async function residueOfAll(
  lab: TestLab,
  nodes: readonly string[] = lab.nodes,
): Promise<Readonly<Record<string, Residue>>> {
  return Object.fromEntries(await Promise.all(nodes.map(async (node) => [node, await residueOf(lab, node)] as const)));
}

/**
 * Throws unless every node has what it had before, apart from the containers named, which may have moved. Cleaning up
 * may go on for a moment after a migration has ended.
 */
export async function assertNothingLeft(
  lab: TestLab,
  before: Readonly<Record<string, Residue>>,
  moved: readonly string[],
  settleMs = 10_000,
): Promise<void> {
  /** What the last look saw; undefined if it failed. */
  let after: Readonly<Record<string, Residue>> | undefined;
  const nodes = Object.keys(before);
  await eventually(
    async () => {
      after = undefined;
      const seen = await residueOfAll(lab, nodes);
      after = seen;
      return nodes.every((node) =>
        isDeepStrictEqual(without(before[node] ?? {}, moved), without(seen[node] ?? {}, moved)),
      )
        ? true
        : undefined;
    },
    { what: "nothing is left over", deadlineMs: settleMs, everyMs: 500 },
  ).catch((error: Error) => {
    if (after === undefined) throw new Error(`what is left over cannot be seen: ${error.cause}`, { cause: error });
    const seen = after;
    const differences = nodes.flatMap((node) =>
      differencesOf(node, without(before[node] ?? {}, moved), without(seen[node] ?? {}, moved)),
    );
    throw new Error(`something is left over or missing:\n  ${differences.join("\n  ")}`, { cause: error });
  });
}

function without(residue: Residue, containers: readonly string[]): Residue {
  const kept = (residue["container"] ?? []).filter((name) => !containers.includes(name));
  const { container: _container, ...others } = residue;
  return kept.length === 0 ? others : { ...others, container: kept };
}

export function differencesOf(node: string, before: Residue, after: Residue): string[] {
  const kinds = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return kinds.flatMap((kind) => {
    const had = before[kind] ?? [];
    const has = after[kind] ?? [];
    return [
      ...has.filter((item) => !had.includes(item)).map((item) => `${node}: new ${kind} ${item}`),
      ...had.filter((item) => !has.includes(item)).map((item) => `${node}: lost ${kind} ${item}`),
    ];
  });
}

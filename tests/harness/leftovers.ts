/** That a migration leaves nothing behind: what Drayage may have made in a node, before and after. */
import { isDeepStrictEqual } from "node:util";
import { eventually } from "./eventually.ts";
import type { TestLab } from "./test-lab.ts";

/** By kind: containers, tables of the packet filter, mounts, units, files, named namespaces. */
export type Residue = Readonly<Record<string, readonly string[]>>;

/**
 * Each line is `kind<TAB>item`. Packet filter tables are looked for in the node's namespace and in every other one that
 * a process or Docker holds.
 */
const LOOK = `
list() { sed "s/^/$1\\t/"; }
tables() { nft list tables 2>/dev/null | grep drayage | sed "s#^#$1: #" | list table || true; }
docker ps --all --no-trunc --format '{{.Names}}' | list container
tables node
for namespace in /run/docker/netns/*; do
  [ -e "$namespace" ] || continue
  nsenter --net="$namespace" nft list tables 2>/dev/null | grep drayage | sed "s#^#$namespace: #" | list table || true
done
awk '{ print $5 }' /proc/self/mountinfo | grep -E 'drayage|criu' | list mount || true
systemctl list-units --all --plain --no-legend 'drayage*' 'criu*' | awk '{ print $1 }' |
  grep -vE '^drayage-(agent|coordinator)\\.service$' | grep -vE '^drayage[a-z-]*\\.slice$' | list unit || true
for directory in /run/drayage/restore /run/drayage/sessions /run/drayage/images /var/lib/drayage/images; do
  [ -d "$directory" ] || continue
  find "$directory" -mindepth 1 -maxdepth 1 | list file
done
ps -eo comm= | grep -xE 'criu|runc|drayage-runc' | list process || true
ip -brief link show | awk '/drayage|dray-/ { print $1 }' | list interface
`;

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
  let after: Readonly<Record<string, Residue>> = {};
  const nodes = Object.keys(before);
  await eventually(
    async () => {
      after = await residueOfAll(lab, nodes);
      return nodes.every((node) =>
        isDeepStrictEqual(without(before[node] ?? {}, moved), without(after[node] ?? {}, moved)),
      )
        ? true
        : undefined;
    },
    { what: "nothing is left over", deadlineMs: settleMs, everyMs: 500 },
  ).catch((error: unknown) => {
    const differences = nodes.flatMap((node) =>
      differencesOf(node, without(before[node] ?? {}, moved), without(after[node] ?? {}, moved)),
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

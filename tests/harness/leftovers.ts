/** That a migration leaves nothing behind: what Drayage may have made in a node, before and after. */
import { isDeepStrictEqual } from "node:util";
import { eventually } from "./eventually.ts";
import type { TestLab } from "./test-lab.ts";

/** By kind: containers, tables of the packet filter, mounts, units, files, namespaces, processes, interfaces. */
export type Residue = Readonly<Record<string, readonly string[]>>;

/**
 * Each line is `kind<TAB>item`. Packet filter tables are looked for in the node's namespace and in Docker's. Every
 * listing is taken whole before it is searched, so that one that fails ends the script, and finding nothing does not.
 *
 * Network, process and mount namespaces are the node's own (those of its first process), or have a holder: a mount, a
 * process in one, a program of Drayage's that has one open. Those of the containers that Docker knows go with them;
 * those in which a service of the node is, Drayage's own among them, are systemd's and last as long as the service.
 */
const LOOK = `
holders() {
  # Processes end meanwhile, which both tell of as errors; of the first there is always an answer.
  grep --no-messages --with-filename '^0::' /proc/[0-9]*/cgroup || :
  find /proc/[0-9]*/ns /proc/[0-9]*/fd -maxdepth 1 \\
    '(' -lname 'net:*' -o -lname 'pid:*' -o -lname 'mnt:*' ')' -printf '%h/%f/%l\\n' 2>/dev/null || :
}
# usage: namespaces CONTAINER-IDS HOLDERS
namespaces() {
  printf '%s\\n' "$2" | awk -F / -v known="$1" '
    BEGIN { count = split(known, ids, " ") }
    function concerns_us(pid, way,    i) {
      for (i = 1; i <= count; i++) if (index(group[pid], ids[i])) return 0
      if (way == "fd") return group[pid] ~ /drayage/
      return group[pid] !~ /\\.service/ || group[pid] ~ /drayage/ && group[pid] !~ /drayage-(agent|coordinator)\\.service/
    }
    $4 ~ /^cgroup:/ { pid = $3; sub(/^.*:0::/, ""); group[pid] = $0; next }
    $5 ~ /_for_children$/ { next }
    $3 == 1 && $4 == "ns" { own[$6] = 1; next }
    { holder[NR] = $3; way[NR] = $4; held[NR] = $6 }
    END {
      if (length(own) == 0) { print "the first process shows no namespaces" >"/dev/stderr"; exit 1 }
      for (line in held) {
        if (held[line] in own || !(holder[line] in group) || !concerns_us(holder[line], way[line])) continue
        item = substr(held[line], 1, 3) " of " group[holder[line]]
        if (!((item, held[line]) in seen)) times[item]++
        seen[item, held[line]] = 1
      }
      for (item in times) print "namespace\\t" times[item] " " item
    }'
}
each() { printf '%s\\n' "$2" | sed -n "s#^.#$1\\t&#p"; }
tables() { printf '%s\\n' "$2" | sed -n "/drayage/s#^#table\\t$1: #p"; }
listing=$(docker ps --all --no-trunc --format '{{.ID}} {{.Names}}')
each container "$(printf '%s' "$listing" | cut --delimiter=' ' --fields=2)"
ids=$(printf '%s' "$listing" | cut --delimiter=' ' --fields=1 | tr '\\n' ' ')
# Docker has one mounted for each container, and the host's for those that are in it.
kept=
[ -z "$ids" ] || kept=$(docker inspect --format '{{.NetworkSettings.SandboxKey}}' $ids)
listing=$(awk '/ - nsfs / { print $5 }' /proc/self/mountinfo)
for mounted in $listing; do
  case "$kept /docker/netns/default" in *"/docker/netns/\${mounted##*/}"*) ;; *) printf 'namespace\\t%s\\n' "$mounted" ;; esac
done
listing=$(holders)
namespaces "$ids" "$listing"
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
for directory in /run/drayage/restore /run/drayage/sessions /run/drayage/images /run/drayage/tmpfs /var/lib/drayage/images /var/lib/drayage/barred; do
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

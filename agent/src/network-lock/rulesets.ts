/** nftables rulesets, pure. Tables are named after the migration; nobody else's table is touched. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** Before every other table's chains, connection tracking included. */
const FIRST = -400;

export function tableName(migrationId: string): string {
  if (!/^[0-9a-f]{1,32}$/.test(migrationId)) {
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(migrationId)} is no migration id`);
  }
  return `drayage_${migrationId}`;
}

/** New TCP connections are not let in; what is established goes on. One transaction. */
export function holdNewRules(migrationId: string): string {
  return `${removeTables(migrationId)}table inet ${tableName(migrationId)} {
  chain input {
    type filter hook input priority ${FIRST}; policy accept;
    iifname "lo" accept
    tcp flags & (syn | ack) == syn drop
  }
}
`;
}

/** Nothing in, nothing out, ARP included; the loopback is kept. One transaction. */
export function dropAllRules(migrationId: string): string {
  return dropRules(migrationId, "");
}

/**
 * The same for a copy that is being restored, but for neighbour advertisements. Docker (28 and newer) makes them when
 * it attaches an IPv6 address, and gives up a container whose advertisement is refused; the block of its MAC address
 * on the host swallows them, as it does ARP, which Docker sends past these rules.
 */
export function dropButAdvertisementsRules(migrationId: string): string {
  return dropRules(migrationId, "    icmpv6 type nd-neighbor-advert accept\n");
}

function dropRules(migrationId: string, outputException: string): string {
  const table = tableName(migrationId);
  return `${removeTables(migrationId)}table inet ${table} {
  chain input {
    type filter hook input priority ${FIRST}; policy drop;
    iifname "lo" accept
  }
  chain forward {
    type filter hook forward priority ${FIRST}; policy drop;
  }
  chain output {
    type filter hook output priority ${FIRST}; policy drop;
    oifname "lo" accept
${outputException}  }
}
table arp ${table} {
  chain input {
    type filter hook input priority ${FIRST}; policy drop;
  }
  chain output {
    type filter hook output priority ${FIRST}; policy drop;
  }
}
`;
}

/** Removes the tables whether they are there or not: naming one makes it. */
export function removeTables(migrationId: string): string {
  const table = tableName(migrationId);
  return ["inet", "arp"].map((family) => `table ${family} ${table}\ndelete table ${family} ${table}\n`).join("");
}

/**
 * Frames from these MAC addresses do not leave through the interface, whatever
 * they carry: they are forwarded into a sink that is down. A plain drop would
 * be told to the sender, and Docker (28 and newer) gives up a container whose
 * address it cannot announce.
 *
 * One table for each migration, one chain for each parent: adding a parent
 * leaves the others as they are.
 */
export function macBlockRules(migrationId: string, parent: string, macs: readonly string[]): string {
  const table = tableName(migrationId);
  if (!/^[^\s"/]{1,15}$/.test(parent)) throw new DrayError("BAD_REQUEST", `${JSON.stringify(parent)} is no interface`);
  for (const mac of macs) {
    if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac)) throw new DrayError("BAD_REQUEST", `${mac} is no MAC address`);
  }
  const chain = `egress_${Buffer.from(parent).toString("hex")}`;
  return `table netdev ${table} {
  chain ${chain} {
    type filter hook egress device "${parent}" priority ${FIRST}; policy accept;
  }
}
flush chain netdev ${table} ${chain}
add rule netdev ${table} ${chain} ether saddr { ${macs.join(", ")} } fwd to "${macSink(migrationId).name}"
`;
}

/** Removes the table whether it is there or not. */
export function removeMacBlockRules(migrationId: string): string {
  const table = tableName(migrationId);
  return `table netdev ${table}\ndelete table netdev ${table}\n`;
}

/** A veth pair that is never brought up; interface names have at most 15 characters. */
export function macSink(migrationId: string): { readonly name: string; readonly peer: string } {
  const id = tableName(migrationId).slice("drayage_".length, "drayage_".length + 12);
  return { name: `dr-${id}`, peer: `dx-${id}` };
}

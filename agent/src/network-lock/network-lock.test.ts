import { expect, test } from "vitest";
import { destinationFiles } from "./destination-files.ts";
import {
  dropAllRules,
  dropButAdvertisementsRules,
  holdNewRules,
  macBlockRules,
  macSink,
  removeTables,
} from "./rulesets.ts";
import { countTcp } from "./sockets.ts";

const ID = "0123456789ab";

test("every ruleset replaces its own tables in one transaction", () => {
  for (const rules of [holdNewRules(ID), dropAllRules(ID), dropButAdvertisementsRules(ID)])
    expect(rules.startsWith(removeTables(ID))).toBe(true);
  expect(removeTables(ID)).toBe(
    "table inet drayage_0123456789ab\ndelete table inet drayage_0123456789ab\n" +
      "table arp drayage_0123456789ab\ndelete table arp drayage_0123456789ab\n",
  );
});

test("holding back touches new connections only", () => {
  expect(holdNewRules(ID)).toContain("tcp flags & (syn | ack) == syn drop");
  expect(holdNewRules(ID)).not.toContain("policy drop");
});

test("dropping keeps the loopback alone", () => {
  const rules = dropAllRules(ID);
  expect(rules.match(/policy drop/g)?.length).toBe(5);
  expect(rules.match(/accept/g)?.length).toBe(2);
  expect(rules).toContain('oifname "lo" accept');
});

test("a copy may advertise its address, to be swallowed outside, and the source may not", () => {
  const advertisement = "icmpv6 type nd-neighbor-advert accept";
  expect(dropAllRules(ID)).not.toContain(advertisement);
  expect(dropButAdvertisementsRules(ID).replace(`    ${advertisement}\n`, "")).toBe(dropAllRules(ID));
});

test("the MAC filter names parent, addresses and sink", () => {
  const rules = macBlockRules(ID, "eth0", ["02:42:0a:63:00:0a", "02:42:0a:63:00:0b"]);
  expect(rules).toContain('hook egress device "eth0"');
  expect(rules).toContain(`ether saddr { 02:42:0a:63:00:0a, 02:42:0a:63:00:0b } fwd to "dr-${ID}"`);
  expect(macSink(ID).name.length).toBeLessThanOrEqual(15);
});

test("nothing foreign gets into a ruleset", () => {
  expect(() => holdNewRules('x" }')).toThrow("no migration id");
  expect(() => macBlockRules(ID, 'e"; flush ruleset', [])).toThrow("no interface");
  expect(() => macBlockRules(ID, "eth0", ["02:42; drop"])).toThrow("no MAC address");
  expect(() => destinationFiles(ID, [{ network: "lan", ipv4: "10.0.0.1 dev lo", ipv6: "" }])).toThrow("no address");
});

test("the placeholder holds every address, and a route of last resort for each family", () => {
  const { ipBatch, nft } = destinationFiles(ID, [
    { network: "lan", ipv4: "10.99.0.10", ipv6: "fd00::10" },
    { network: "other", ipv4: "10.98.0.10", ipv6: "" },
  ]);
  expect(ipBatch.split("\n")).toEqual([
    "link add drayage0 type veth peer name drayage1",
    "address add 10.99.0.10/32 dev drayage0",
    "address add 10.98.0.10/32 dev drayage0",
    "address add fd00::10/128 dev drayage0 nodad noprefixroute",
    "link set drayage1 up",
    "link set drayage0 up",
    "route add default dev drayage0 metric 65000",
    "route add ::/0 dev drayage0 metric 65000",
    "",
  ]);
  expect(nft).toBe(dropButAdvertisementsRules(ID));
  expect(destinationFiles(ID, []).ipBatch).not.toContain("route");
});

test("counts accept queues, handshakes and orphans of /proc/net/tcp", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
  const line = (state: string, queues: string, inode: string) =>
    `   0: 00000000:18EB 00000000:0000 ${state} ${queues} 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0`;
  const table = [
    head,
    line("0A", "00000000:00000003", "77"),
    line("0A", "00000000:00000000", "78"),
    line("03", "00000000:00000000", "0"),
    line("01", "00000000:00000010", "79"),
    line("04", "00000001:00000000", "0"),
    line("06", "00000000:00000000", "0"),
    "",
  ].join("\n");
  expect(countTcp(table)).toEqual({ unaccepted: 3, halfOpen: 1, orphans: 1 });
  expect(countTcp("")).toEqual({ unaccepted: 0, halfOpen: 0, orphans: 0 });
});

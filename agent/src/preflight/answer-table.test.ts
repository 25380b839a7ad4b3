import { expect, test } from "vitest";
import { answerTable, ipv6Digits } from "./answer-table.ts";

test("all digits of an IPv6 address", () => {
  expect(ipv6Digits("fd00::2")).toBe("fd000000000000000000000000000002");
  expect(ipv6Digits("::1")).toBe(`${"0".repeat(31)}1`);
  expect(ipv6Digits("2001:db8:1:2:3:4:5:6")).toBe("20010db8000100020003000400050006");
  expect(ipv6Digits("fd00::")).toBe(`fd00${"0".repeat(28)}`);
  expect(() => ipv6Digits("::ffff:10.0.0.1")).toThrow("no plain IPv6 address");
});

test("answers on one link for one address", () => {
  expect(answerTable("t", "10.0.0.2", "eth0").rules).toContain(
    'iifname "eth0" arp operation reply arp saddr ip 10.0.0.2 add @heard { arp saddr ether }',
  );
  expect(answerTable("t", "fd00::2", "eth0")).toMatchObject({ family: "ip6" });
  expect(() => answerTable("t", "10.0.0.2", 'e" drop')).toThrow("no interface");
  expect(() => answerTable("t", "10.0.0.2; drop", "eth0")).toThrow("no plain IPv6 address");
});

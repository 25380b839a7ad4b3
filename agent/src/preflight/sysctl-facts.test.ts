import { expect, test } from "vitest";
import { withHostConfig } from "./checks/fact-fixtures.ts";
import { missingSysctls, networkSysctlsOf } from "./sysctl-facts.ts";

const given = (...names: string[]) => withHostConfig({ Sysctls: Object.fromEntries(names.map((name) => [name, "1"])) });

test("those of the network, but for those of an interface", () => {
  const names = ["net.core.somaxconn", "net.ipv4.conf.all.forwarding", "net.ipv6.conf.default.accept_ra"];
  expect(networkSysctlsOf(given(...names, "kernel.msgmax", "net.ipv4.conf.eth0.forwarding"))).toEqual(names);
  expect(networkSysctlsOf(withHostConfig({}))).toEqual([]);
});

test("one that no kernel has is missing, one that all have is not", async () => {
  expect(await missingSysctls(given("net.core.somaxconn", "net.made.up"))).toEqual(["net.made.up"]);
});

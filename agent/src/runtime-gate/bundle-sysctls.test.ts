import { expect, test } from "vitest";
import { networkSysctls } from "./bundle-sysctls.ts";

const config = (sysctl: unknown) => JSON.stringify({ linux: { sysctl } });

test("those of the network, as paths", () => {
  const sysctl = {
    "net.ipv4.tcp_rmem": "4096 87380 6291456",
    "kernel.shmmax": "1",
    "net/ipv4/ip_unprivileged_port_start": "0",
  };
  expect(networkSysctls(config(sysctl))).toBe(
    "net/ipv4/tcp_rmem=4096 87380 6291456\nnet/ipv4/ip_unprivileged_port_start=0\n",
  );
});

test.each(["{}", config(undefined), config(null), config({})])("none in %s", (json) => {
  expect(networkSysctls(json)).toBe("");
});

test.each([{ "net.a": "1\n2" }, { "net.a": 1 }, { "net.a\nb": "1" }])("refuses %j", (sysctl) => {
  expect(() => networkSysctls(config(sysctl))).toThrow("fits on a line");
});

import { expect, it } from "vitest";
import type { ContainerInspect, NetworkInspect } from "../docker/types.ts";
import { endpointsOf, macsByParent } from "./endpoints.ts";

function container(networks: ContainerInspect["NetworkSettings"]["Networks"]): ContainerInspect {
  return { NetworkSettings: { Networks: networks } } as unknown as ContainerInspect;
}

const networks = [
  { Name: "dray", Id: "1".repeat(64), Driver: "macvlan", Scope: "local", Options: { parent: "host0" } },
  { Name: "front", Id: "abcdef0123456789", Driver: "bridge", Scope: "local", Options: {} },
  {
    Name: "bridge",
    Id: "2".repeat(64),
    Driver: "bridge",
    Scope: "local",
    Options: { "com.docker.network.bridge.name": "docker0" },
  },
] as NetworkInspect[];

it("names the interface through which each address leaves", () => {
  const endpoints = endpointsOf(
    container({
      dray: { MacAddress: "02:42:AA:00:00:01", IPAddress: "10.0.0.9", GlobalIPv6Address: "fd00::9" },
      front: { MacAddress: "02:42:aa:00:00:02", IPAddress: "172.20.0.2" },
      bridge: { MacAddress: "02:42:aa:00:00:03", IPAddress: "172.17.0.2" },
      gone: { MacAddress: "02:42:aa:00:00:04" },
    }),
    networks,
  );
  expect(endpoints.map(({ network, parent, mac }) => [network, parent, mac])).toEqual([
    ["dray", "host0", "02:42:aa:00:00:01"],
    ["front", "br-abcdef012345", "02:42:aa:00:00:02"],
    ["bridge", "docker0", "02:42:aa:00:00:03"],
    ["gone", "", "02:42:aa:00:00:04"],
  ]);
  expect(endpoints[0]).toMatchObject({ ipv4: "10.0.0.9", ipv6: "fd00::9" });
  expect([...macsByParent(endpoints).keys()]).toEqual(["host0", "br-abcdef012345", "docker0"]);
});

it("takes what was asked for while a container has not started", () => {
  const [endpoint] = endpointsOf(
    container({ dray: { IPAMConfig: { IPv4Address: "10.0.0.9" }, IPAddress: "", MacAddress: "" } }),
    networks,
  );
  expect(endpoint).toMatchObject({ ipv4: "10.0.0.9", ipv6: "", mac: "" });
});

import { describe, expect, it } from "vitest";
import { overlaps, parseNetwork, type Network } from "./cidr.ts";
import { allNodes, chooseSubnet, labId, NODES_MAX, nodeNames, planAddresses, subnetCandidates } from "./plan.ts";

const INTERFACE_NAME_MAX = 15;

function network(text: string): Network {
  const parsed = parseNetwork(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

describe("address plan", () => {
  it("differs between labs, and is the same every time", () => {
    expect(labId("/a/.lab/x")).toBe(labId("/a/.lab/x"));
    expect(labId("/a/.lab/x")).not.toBe(labId("/a/.lab/y"));
    expect(labId("/a/.lab/x")).not.toBe(labId("/b/.lab/x"));
  });

  it("takes the first candidate when nothing is in the way, else the next", () => {
    const [first = "", second = ""] = subnetCandidates("0000ff");
    expect(chooseSubnet("0000ff", [])).toBe(first);
    expect(chooseSubnet("0000ff", [network(first)])).toBe(second);
    expect(chooseSubnet("0000ff", [network("10.64.0.0/16")])).toBe("10.65.0.0/24");
  });

  it("says so when everything is taken", () => {
    expect(() => chooseSubnet("000000", [network("10.0.0.0/8")])).toThrow(/no free network/);
  });

  it("wraps around at the end of its range", () => {
    const candidates = [...subnetCandidates("7fffff")].slice(0, 2);
    expect(candidates).toEqual(["10.191.255.0/24", "10.64.0.0/24"]);
  });

  it("gives every node a name, an address, a port and a range, none twice", () => {
    const plan = planAddresses("abcdef", "10.70.1.0/24", NODES_MAX, true);
    expect(plan.nodes.map(({ name }) => name)).toEqual(nodeNames(NODES_MAX));
    expect(plan.nodes[0]).toEqual({
      name: "n1",
      ipv4: "10.70.1.11",
      port: "vb-abcdef-n1",
      automaticRange: "10.70.1.192/29",
    });
    const taken = [
      plan.hostIpv4,
      plan.freeAddresses.first,
      plan.freeAddresses.last,
      ...allNodes(plan).flatMap(({ ipv4, automaticRange }) => [ipv4, automaticRange]),
    ].map(network);
    taken.forEach((a, index) => {
      expect(overlaps(a, network(plan.subnet))).toBe(true);
      expect(taken.slice(index + 1).some((b) => overlaps(a, b))).toBe(false);
    });
    expect(
      [plan.bridge, ...allNodes(plan).map(({ port }) => port)].every((name) => name.length <= INTERFACE_NAME_MAX),
    ).toBe(true);
  });

  it.each([0, NODES_MAX + 1, 1.5])("refuses %d nodes", (count) => {
    expect(() => nodeNames(count)).toThrow(/1 to 8/);
  });
});

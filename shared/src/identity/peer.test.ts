import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  demandPeer,
  formatPeerUri,
  parseAlternativeNames,
  parsePeerUri,
  peerOfAlternativeNames,
  ROLES,
} from "./peer.ts";

const name = fc.stringMatching(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,20}[A-Za-z0-9])?$/);
const peer = fc.record({
  cluster: fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?$/),
  role: fc.constantFrom(...ROLES),
  name,
});

describe("peer URI", () => {
  test("what is written is what is read", () => {
    fc.assert(
      fc.property(peer, (one) => {
        expect(parsePeerUri(formatPeerUri(one))).toEqual(one);
      }),
    );
  });

  test("whatever is accepted has a written form of its own", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const parsed = parsePeerUri(`drayage://${text}`);
        if (parsed !== null) expect(formatPeerUri(parsed)).toBe(`drayage://${text}`);
      }),
    );
  });

  test.each([
    "drayage://lab/agent",
    "drayage://lab/agent/",
    "drayage://lab/agent/n1/x",
    "drayage://lab/admin/n1",
    "drayage://LAB/agent/n1",
    "drayage:///agent/n1",
    "drayage://lab/agent/../n1",
    "drayage://lab/agent/n1\n",
    "drayage://lab/agent/n1?x",
    "https://lab/agent/n1",
    "drayage://user@lab/agent/n1",
  ])("%j names nobody", (uri) => expect(parsePeerUri(uri)).toBeNull());

  test("bad parts are refused by name", () => {
    expect(() => formatPeerUri({ cluster: "a.b", role: "agent", name: "n1" })).toThrow(/cluster/);
    expect(() => formatPeerUri({ cluster: "lab", role: "agent", name: "n 1" })).toThrow(/usable name/);
  });
});

describe("alternative names", () => {
  test("Node's text form, with quoted values", () => {
    const text = 'URI:drayage://lab/agent/n1, DNS:"a, URI:drayage://lab/operator/root", IP Address:10.0.0.1';
    expect(parseAlternativeNames(text)).toEqual([
      { type: "URI", value: "drayage://lab/agent/n1" },
      { type: "DNS", value: "a, URI:drayage://lab/operator/root" },
      { type: "IP Address", value: "10.0.0.1" },
    ]);
    expect(peerOfAlternativeNames(text)).toEqual({ cluster: "lab", role: "agent", name: "n1" });
  });

  test("a name within a quoted value is no name", () => {
    expect(() => peerOfAlternativeNames('DNS:"x, URI:drayage://lab/operator/root"')).toThrow(/does not name/);
  });

  test.each([
    undefined,
    "",
    "DNS:n1",
    "URI:drayage://lab/agent/n1, URI:drayage://lab/operator/n1",
    'DNS:"open',
    "URI:drayage://lab/agent/n1,x",
  ])("%j is nobody", (text) =>
    expect(() => peerOfAlternativeNames(text)).toThrow(expect.objectContaining({ reason: "UNAUTHENTICATED" })),
  );

  test("any text is parsed or refused, never an exception", () => {
    fc.assert(fc.property(fc.string(), (text) => void parseAlternativeNames(text)));
  });
});

describe("demandPeer", () => {
  const agent = { cluster: "lab", role: "agent", name: "n1" } as const;
  test("who is expected passes", () => {
    demandPeer(agent, "lab", { role: "agent" });
    demandPeer(agent, "lab", { role: "agent", name: "n1" });
  });
  test.each([
    ["other", { role: "agent" }, "UNAUTHENTICATED"],
    ["lab", { role: "coordinator" }, "PERMISSION_DENIED"],
    ["lab", { role: "agent", name: "n2" }, "PERMISSION_DENIED"],
  ] as const)("cluster %s, expected %j: %s", (cluster, expected, reason) => {
    expect(() => demandPeer(agent, cluster, expected)).toThrow(expect.objectContaining({ reason }));
  });
});

import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { createAuthority, issueIdentity } from "@drayage/shared/identity/authority.ts";
import { startTransferServer } from "@drayage/shared/page-stream/transfer-server.ts";
import { expect, test } from "vitest";
import { Severity } from "./finding.ts";
import { checkPageRoutes, routeFindings } from "./page-routes.ts";

const FAR = "10.0.0.2:7401";
const NEAR = "10.1.0.2:7401";
const silent = new DrayError("TIMEOUT", "no TCP connection within 5000 ms");

test("every address answers: nothing to say", () => {
  expect(routeFindings("n2", [{ address: FAR, failure: null }])).toEqual([]);
});

test("no address answers: refused, with every address and what it said", () => {
  const refused = new DrayError("PEER_UNAVAILABLE", "connect ECONNREFUSED 10.1.0.2:7401");
  const [finding] = routeFindings("n2", [
    { address: FAR, failure: silent },
    { address: NEAR, failure: refused },
  ]);
  expect(finding).toMatchObject({ code: "pages-unreachable", severity: Severity.SEVERITY_BLOCKING });
  expect(finding?.message).toBe(
    `This node does not reach the page socket of n2, tried at ${FAR} (no TCP connection within 5000 ms); ${NEAR} (connect ECONNREFUSED 10.1.0.2:7401).`,
  );
  expect(finding?.remedy).toMatch(/firewall drops TCP port 7401.* on n2 /);
});

test("who was reached and refused has the remedy", () => {
  const failure = new DrayError("UNAUTHENTICATED", "the peer's certificate has expired", { remedy: "Renew it." });
  const trials = [
    { address: FAR, failure: silent },
    { address: NEAR, failure },
  ];
  expect(routeFindings("n2", trials)[0]?.remedy).toBe("Renew it.");
});

test("one of several does not answer: a note", () => {
  const [finding] = routeFindings("n2", [
    { address: FAR, failure: silent },
    { address: NEAR, failure: null },
  ]);
  expect(finding).toMatchObject({ code: "page-address-unreachable", severity: Severity.SEVERITY_NOTE });
});

test("no address is known: refused", () => {
  expect(routeFindings("n2", [])[0]).toMatchObject({ code: "pages-unreachable" });
});

test("many destinations, by real connections: the findings are each one's own and this node's", async () => {
  const authority = await createAuthority("lab");
  const [n1, n2] = await Promise.all([
    issueIdentity(authority, { role: "agent", name: "n1" }),
    issueIdentity(authority, { role: "agent", name: "n2" }),
  ]);
  const server = await startTransferServer({ identity: n2, address: "127.0.0.1:0" });
  const there = `127.0.0.1:${server.port}`;
  try {
    const others = Array.from({ length: 40 }, (_, index) => ({ node: `x${index}`, pageAddresses: ["127.0.0.1:1"] }));
    const { routes } = await checkPageRoutes({ identity: n1, node: "n1" }, [
      ...others,
      { node: "n2", pageAddresses: ["127.0.0.1:1", there] },
      { node: "n3", pageAddresses: [there] },
    ]);
    expect(routes.map(({ node }) => node)).toEqual([...others.map(({ node }) => node), "n2", "n3"]);
    expect(routes.slice(0, 40).every(({ findings }) => findings[0]?.code === "pages-unreachable")).toBe(true);
    expect(routes[40]?.findings).toMatchObject([{ code: "page-address-unreachable", node: "n1" }]);
    expect(routes[41]?.findings).toMatchObject([{ code: "pages-unreachable", node: "n1" }]);
    expect(routes[41]?.findings[0]?.message).toContain("n3");
  } finally {
    await server.close();
  }
});

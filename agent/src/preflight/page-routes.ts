/** Do this node's connections reach the page sockets of destinations? Tried as a transfer would, nothing is sent. */
import { type DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import type { PageRoute, PageRouteFindings } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { Identity } from "@drayage/shared/identity/identity.ts";
import { inquire } from "@drayage/shared/page-stream/inquiry.ts";
import { blocking, type Finding, note } from "./finding.ts";

/** One address, and why nobody could be asked there; null if the page socket answered. */
export interface RouteTrial {
  readonly address: string;
  readonly failure: DrayError | null;
}

/** Connections under way at one time, whatever the number of destinations. */
const TRIALS_AT_A_TIME = 32;

/** Throws CANCELLED; everything else is a finding. */
export async function checkPageRoutes(
  host: { readonly identity: Identity; readonly node: string },
  routes: readonly PageRoute[],
  signal?: AbortSignal,
): Promise<{ routes: PageRouteFindings[] }> {
  const found = routes.map(({ node, pageAddresses }) => ({
    node,
    trials: new Array<RouteTrial>(pageAddresses.length),
  }));
  const waiting = routes.flatMap(({ node, pageAddresses }, route) =>
    pageAddresses.map((address, index) => async () => {
      const failure = await tryAddress(host.identity, node, address, signal);
      found[route]?.trials.splice(index, 1, { address, failure });
    }),
  );
  const tryOneAfterTheOther = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next();
  };
  await Promise.all(Array.from({ length: TRIALS_AT_A_TIME }, tryOneAfterTheOther));
  return {
    routes: found.map(({ node, trials }) => ({
      node,
      findings: routeFindings(node, trials).map((finding) => ({ ...finding, node: host.node })),
    })),
  };
}

async function tryAddress(
  identity: Identity,
  peerName: string,
  address: string,
  signal: AbortSignal | undefined,
): Promise<DrayError | null> {
  try {
    await inquire({ identity, peerName, address, signal });
    return null;
  } catch (thrown) {
    const error = toDrayError(thrown);
    if (signal?.aborted) throw error;
    return error;
  }
}

/** What the trials say of the way to a node. Pure. */
export function routeFindings(node: string, trials: readonly RouteTrial[]): Finding[] {
  const failures = trials.flatMap(({ address, failure }) => (failure === null ? [] : [{ address, failure }]));
  const answering = trials.filter(({ failure }) => failure === null).map(({ address }) => address);
  const said = failures.map(({ address, failure }) => `${address} (${failure.message})`).join("; ");
  if (trials.length === 0) {
    return [
      blocking("pages-unreachable", {
        message: `The agent of ${node} has published no address of its page socket.`,
        remedy: `Check advertiseAddresses in agent.yaml on ${node}, and that its agent is of this version.`,
      }),
    ];
  }
  if (answering.length === 0) {
    return [
      blocking("pages-unreachable", {
        message: `This node does not reach the page socket of ${node}, tried at ${said}.`,
        remedy: remedyFor(node, failures),
      }),
    ];
  }
  if (failures.length === 0) return [];
  return [
    note("page-address-unreachable", {
      message: `This node reaches the page socket of ${node} at ${answering.join(", ")}, but not at ${said}.`,
      remedy: `Take addresses that do not lead there out of advertiseAddresses in agent.yaml on ${node}.`,
    }),
  ];
}

/** Where the two have spoken, what they said counts; else the way between them. */
function remedyFor(
  node: string,
  failures: readonly { readonly address: string; readonly failure: DrayError }[],
): string {
  const spoken = failures.find(({ failure }) => failure.reason !== "PEER_UNAVAILABLE" && failure.reason !== "TIMEOUT");
  if (spoken !== undefined) return spoken.failure.remedy;
  const { address = "" } = failures[0] ?? {};
  const port = address.slice(address.lastIndexOf(":") + 1);
  return `Check the route from here (\`ip route get\`), that no firewall drops TCP port ${port}, and on ${node} that its agent listens (\`ss -ltn sport = :${port}\`) and that advertiseAddresses in agent.yaml is what other nodes reach.`;
}

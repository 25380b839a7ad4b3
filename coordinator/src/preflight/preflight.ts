/** Preflight: asks both agents what stands against a migration, and finds a destination. Touches nothing. */
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { notFound } from "@drayage/shared/errors/not-found.ts";
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { type Finding, Severity } from "@drayage/shared/gen/drayage/common/v1/finding.ts";
import type { InventoryRecord } from "@drayage/shared/state/node.ts";
import { ContainerGone } from "../cluster/find-container.ts";
import type { ClusterNode } from "../cluster/view.ts";
import type { Agents } from "../orders/agent-orders.ts";
import { type Constraint, holds, showConstraint } from "../placement/constraint.ts";
import { IS_SOURCE } from "../placement/filters.ts";
import { place, type Refusal, showRefusals } from "../placement/place.ts";
import { obstacles, showFindings } from "./findings.ts";

export interface PreflightRequest {
  readonly container: InventoryRecord;
  /** Destination; empty to let Drayage place it. */
  readonly to: string;
  readonly constraints: readonly Constraint[];
  readonly allowFlags: readonly string[];
}

export interface PreflightVerdict {
  readonly description: SourceDescription;
  readonly destination: string;
  /** Everything found that does not refuse. */
  readonly findings: readonly Finding[];
}

export interface PreflightDeps {
  readonly agents: Agents;
  readonly nodes: () => readonly ClusterNode[];
  readonly onRefusal: (refusal: Refusal) => void;
}

const INSPECT_MS = 60_000;
const CHECK_MS = 60_000;
/** The source tries all at once, for as long as it takes one to not answer. */
const ROUTES_MS = 60_000;
/** Candidates whose page sockets are tried before the next ones are thought of. */
const CANDIDATES_AT_A_TIME = 16;

/** PREFLIGHT with all findings; NO_PLACEMENT with the reason for each node, or the named one's; NOT_FOUND for an unknown destination. */
export async function preflight(
  deps: PreflightDeps,
  request: PreflightRequest,
  signal?: AbortSignal,
): Promise<PreflightVerdict> {
  const { container, to, allowFlags, constraints } = request;
  const source = await inspectSource(deps, container, allowFlags, signal);
  if (to !== "") {
    const node = demandDestination(deps.nodes(), container, to);
    demandConstraints(node, constraints);
    const [found, routes] = await Promise.all([
      checkDestination(deps, source.description, container.node, to, allowFlags, signal),
      checkPageRoutes(deps, container.node, [node], signal),
    ]);
    const findings = [...source.findings, ...(routes.get(to) ?? []), ...found];
    demandClear(findings, allowFlags, `${container.name} cannot move to ${to}`);
    return { description: source.description, destination: to, findings };
  }
  demandClear(source.findings, allowFlags, `${container.name} cannot be moved`);
  return await findDestination(deps, request, source, signal);
}

async function findDestination(
  deps: PreflightDeps,
  request: PreflightRequest,
  source: { readonly description: SourceDescription; readonly findings: readonly Finding[] },
  signal?: AbortSignal,
): Promise<PreflightVerdict> {
  const { container, allowFlags, constraints } = request;
  const task = {
    source: container.node,
    architecture: source.description.host?.architecture ?? "",
    memoryBytes: source.description.memoryBytes + source.description.tmpfsBytes,
    constraints,
  };
  const { candidates, refusals } = place(task, deps.nodes());
  for (const refusal of refusals) deps.onRefusal(refusal);
  const refused = [...refusals];
  const findings: Finding[] = refusals.map(asFinding);
  const refuse = (refusal: Refusal, found: readonly Finding[]) => {
    refused.push(refusal);
    findings.push(...found);
    deps.onRefusal(refusal);
  };
  for (let at = 0; at < candidates.length; at += CANDIDATES_AT_A_TIME) {
    const some = candidates.slice(at, at + CANDIDATES_AT_A_TIME);
    const routes = await checkPageRoutes(deps, container.node, some, signal);
    for (const { record } of some) {
      const found = [...(routes.get(record.name) ?? [])];
      try {
        if (obstacles(found, allowFlags).length === 0) {
          found.push(
            ...(await checkDestination(deps, source.description, container.node, record.name, allowFlags, signal)),
          );
        }
        const against = obstacles(found, allowFlags);
        if (against.length === 0) {
          const others = refused.filter(isAnother).map(notChosen);
          return {
            description: source.description,
            destination: record.name,
            findings: [...source.findings, ...found, ...others],
          };
        }
        const why = against.map((finding) => `${finding.message} ${finding.remedy}`.trim()).join(" ");
        refuse({ node: record.name, filter: "preflight", why }, found);
      } catch (thrown) {
        const error = toDrayError(thrown);
        if (error.reason === "CANCELLED") throw error;
        const refusal = { node: record.name, filter: "preflight", why: error.message };
        refuse(refusal, [{ ...asFinding(refusal), code: "check-failed", remedy: error.remedy }]);
      }
    }
  }
  throw new DrayError("NO_PLACEMENT", `no node can take ${container.name}: ${showRefusals(refused)}`, { findings });
}

function isAnother({ filter }: Refusal): boolean {
  return filter !== IS_SOURCE;
}

/** What a filter of placement says, as preflight would. */
function asFinding({ node, filter, why }: Refusal): Finding {
  return {
    code: `placement-${filter}`,
    severity: Severity.SEVERITY_BLOCKING,
    node,
    message: why,
    remedy: "",
    allowFlag: "",
  };
}

/** For whoever asks why it is not that node. */
function notChosen({ node, why }: Refusal): Finding {
  const message = `not chosen: ${why}`;
  return { code: "not-chosen", severity: Severity.SEVERITY_NOTE, node, message, remedy: "", allowFlag: "" };
}

/** The source's description and findings. `ContainerGone`. */
export async function inspectSource(
  deps: Pick<PreflightDeps, "agents">,
  container: InventoryRecord,
  allowFlags: readonly string[],
  signal?: AbortSignal,
): Promise<{ readonly description: SourceDescription; readonly findings: readonly Finding[] }> {
  const request = { dockerId: container.dockerId, allowFlags: [...allowFlags] };
  const answer = await deps.agents
    .of(container.node)
    .inspectSource(request, { deadlineMs: INSPECT_MS, signal })
    .catch((thrown: unknown) => {
      throw thrown instanceof DrayError && thrown.reason === "NOT_FOUND"
        ? new ContainerGone(container, thrown)
        : thrown;
    });
  if (answer.description === undefined) {
    throw new DrayError("INTERNAL", `node ${container.node} described no container`, { node: container.node });
  }
  return { description: answer.description, findings: answer.findings };
}

export async function checkDestination(
  deps: Pick<PreflightDeps, "agents">,
  description: SourceDescription,
  sourceNode: string,
  node: string,
  allowFlags: readonly string[],
  signal?: AbortSignal,
): Promise<readonly Finding[]> {
  const request = { description, sourceNode, allowFlags: [...allowFlags] };
  return (await deps.agents.of(node).checkDestination(request, { deadlineMs: CHECK_MS, signal })).findings;
}

/** What the source finds on the way to the page sockets of nodes, by their names. */
export async function checkPageRoutes(
  deps: Pick<PreflightDeps, "agents">,
  source: string,
  nodes: readonly ClusterNode[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, readonly Finding[]>> {
  if (nodes.length === 0) return new Map();
  const routes = nodes.map(({ record: { name, pageAddresses } }) => ({ node: name, pageAddresses }));
  const answer = await deps.agents.of(source).checkPageRoutes({ routes }, { deadlineMs: ROUTES_MS, signal });
  return new Map(answer.routes.map(({ node, findings }) => [node, findings]));
}

/** The node, if the container can be meant to go there. */
function demandDestination(nodes: readonly ClusterNode[], container: InventoryRecord, to: string): ClusterNode {
  const node = nodes.find((each) => each.record.name === to);
  if (node === undefined) throw notFound("node", to);
  if (to === container.node) throw alreadyThere(container);
  if (node.state === "down") throw new DrayError("AGENT_UNAVAILABLE", `node ${to} is down`, { node: to });
  return node;
}

/** Its own node is not a destination. */
export function alreadyThere({ name, node }: InventoryRecord): DrayError {
  return new DrayError("BAD_REQUEST", `${name} is on ${node} already`, {
    remedy: "Name another node with --to, or leave out --to: then every other node is looked at.",
  });
}

function demandConstraints({ record }: ClusterNode, constraints: readonly Constraint[]): void {
  const broken = constraints.filter((constraint) => !holds(constraint, record)).map(showConstraint);
  if (broken.length === 0) return;
  throw new DrayError("NO_PLACEMENT", `${record.name} does not meet ${broken.join(", ")}`, {
    remedy: "Name a node that does, or leave out --to or the constraint.",
  });
}

function demandClear(findings: readonly Finding[], allowFlags: readonly string[], what: string): void {
  const against = obstacles(findings, allowFlags);
  if (against.length > 0) throw new DrayError("PREFLIGHT", `${what}:\n${showFindings(against)}`, { findings });
}

/** A node's own findings, as a check of the node alone gives them. */
export function nodeFindings(node: ClusterNode): Finding[] {
  const finding = (code: string, message: string, remedy: string): Finding => ({
    code,
    severity: Severity.SEVERITY_BLOCKING,
    node: node.record.name,
    message,
    remedy,
    allowFlag: "",
  });
  if (node.state === "down") {
    return [finding("node-down", "The agent's lease has ended.", "Check `systemctl status drayage-agent` there.")];
  }
  return node.record.problems.map((problem) => finding("node-unhealthy", problem, "Mend it on that node."));
}

/** Drayage's configuration files in a lab. */
import type { AddressPlan, NodePlan } from "../address/plan.ts";
import { coordinatorAddresses, etcdEndpoints } from "./members.ts";

export const CONFIG_DIRECTORY = "/etc/drayage";
export const PKI_DIRECTORY = "/etc/drayage/pki";

const ZONES = "abc";

function list(key: string, values: readonly string[]): string {
  return `${key}:\n${values.map((value) => `  - "${value}"\n`).join("")}`;
}

/** Of a host with a processor of its own: the product's default. */
const LEASE_TTL_SECONDS = 5;

/** A slow node is not a dead one. */
function lease(patience: number): string {
  return patience === 1 ? "" : `leaseTtlSeconds: ${LEASE_TTL_SECONDS * patience}\n`;
}

export function agentConfig(plan: AddressPlan, node: NodePlan, cluster: string, patience = 1): string {
  const zone = ZONES[plan.nodes.indexOf(node) % ZONES.length];
  return [
    `node: ${node.name}\n`,
    `cluster: ${cluster}\n`,
    list("advertiseAddresses", [node.ipv4]),
    list("etcdEndpoints", etcdEndpoints(plan)),
    `labels:\n  zone: ${zone}\n`,
    lease(patience),
  ].join("");
}

export function coordinatorConfig(plan: AddressPlan, node: NodePlan, cluster: string, patience = 1): string {
  return [
    `name: ${node.name}\n`,
    `cluster: ${cluster}\n`,
    list("advertiseAddresses", [node.ipv4]),
    list("etcdEndpoints", etcdEndpoints(plan)),
    lease(patience),
  ].join("");
}

/** For `dray`, on the host and in the nodes. */
export function clientConfig(plan: AddressPlan): string {
  return list("coordinators", coordinatorAddresses(plan));
}

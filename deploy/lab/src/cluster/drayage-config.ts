/** Drayage's configuration files in a lab. */
import type { AddressPlan, NodePlan } from "../address/plan.ts";
import { coordinatorAddresses, etcdEndpoints } from "./members.ts";

export const CONFIG_DIRECTORY = "/etc/drayage";
export const PKI_DIRECTORY = "/etc/drayage/pki";

const ZONES = "abc";

function list(key: string, values: readonly string[]): string {
  return `${key}:\n${values.map((value) => `  - "${value}"\n`).join("")}`;
}

export function agentConfig(plan: AddressPlan, node: NodePlan, cluster: string): string {
  const zone = ZONES[plan.nodes.indexOf(node) % ZONES.length];
  return [
    `node: ${node.name}\n`,
    `cluster: ${cluster}\n`,
    list("advertiseAddresses", [node.ipv4]),
    list("etcdEndpoints", etcdEndpoints(plan)),
    `labels:\n  zone: ${zone}\n`,
  ].join("");
}

export function coordinatorConfig(plan: AddressPlan, node: NodePlan, cluster: string): string {
  return [
    `name: ${node.name}\n`,
    `cluster: ${cluster}\n`,
    list("advertiseAddresses", [node.ipv4]),
    list("etcdEndpoints", etcdEndpoints(plan)),
  ].join("");
}

/** For `dray`, on the host and in the nodes. */
export function clientConfig(plan: AddressPlan): string {
  return list("coordinators", coordinatorAddresses(plan));
}

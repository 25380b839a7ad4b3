/** Who in a lab does what for the cluster. */
import { type AddressPlan, allNodes, type NodePlan } from "../address/plan.ts";

export const ETCD_CLIENT_PORT = 2379;
export const ETCD_PEER_PORT = 2380;
export const COORDINATOR_PORT = 7410;
const MEMBERS = 3;

/** The nodes that run etcd and a coordinator: the controlling one, else three, or one where three are not to be had. */
export function memberNodes(plan: AddressPlan): readonly NodePlan[] {
  if (plan.control !== undefined) return [plan.control];
  return plan.nodes.slice(0, plan.nodes.length >= MEMBERS ? MEMBERS : 1);
}

/** The node where the CA lives and new nodes are admitted. */
export function firstNode(plan: AddressPlan): NodePlan {
  const [first] = allNodes(plan);
  if (first === undefined) throw new RangeError("a lab has at least one node");
  return first;
}

export function etcdEndpoints(plan: AddressPlan): string[] {
  return memberNodes(plan).map(({ ipv4 }) => `https://${ipv4}:${ETCD_CLIENT_PORT}`);
}

export function coordinatorAddresses(plan: AddressPlan): string[] {
  return memberNodes(plan).map(({ ipv4 }) => `${ipv4}:${COORDINATOR_PORT}`);
}

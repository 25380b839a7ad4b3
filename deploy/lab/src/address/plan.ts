/**
 * Who has which address and which name in a lab. Everything follows from the
 * lab's directory and the chosen network, so that two labs never share a
 * name, and a lab without its state file can still be taken down.
 *
 *   .1          the host's end of the bridge, gateway of all
 *   .10         the node that controls the others, where they do not do it themselves
 *   .11 … .18   nodes n1 … n8
 *   .24 … .31   for Docker on the controlling node to give out
 *   .32 … .191  free for containers with an address of their own choice
 *   .192 …      8 addresses per node for Docker to give out
 */
import { createHash } from "node:crypto";
import { LabError } from "../errors.ts";
import { formatAddress, type Network, overlaps, parseNetwork } from "./cidr.ts";

export const NODES_MAX = 8;
const CANDIDATES = 4096;
const PREFIX_LENGTH = 24;

export interface NodePlan {
  /** `n1` … `n8`, also its host name. */
  readonly name: string;
  readonly ipv4: string;
  /** The bridge port that leads to the node. */
  readonly port: string;
  /** From which Docker on this node takes addresses that nobody chose. */
  readonly automaticRange: string;
}

/** The node that runs etcd and the coordinator, where the others are too slow for it. */
export const CONTROL_NODE = "c1";

export interface AddressPlan {
  readonly bridge: string;
  readonly subnet: string;
  readonly prefixLength: number;
  readonly hostIpv4: string;
  /** Addresses that Docker gives to nobody: containers may be started with them. */
  readonly freeAddresses: { readonly first: string; readonly last: string };
  readonly nodes: readonly NodePlan[];
  /** Has no agent. Undefined where etcd and coordinators run on the nodes. */
  readonly control: NodePlan | undefined;
}

/** Every node of the lab. */
export function allNodes({ nodes, control }: AddressPlan): readonly NodePlan[] {
  return control === undefined ? nodes : [control, ...nodes];
}

/** Six hexadecimal digits that stand for a lab in names of interfaces and cgroups. */
export function labId(labDirectory: string): string {
  return createHash("sha256").update(labDirectory).digest("hex").slice(0, 6);
}

export function bridgeName(id: string): string {
  return `dl-${id}`;
}

export function machineName(id: string, node: string): string {
  return `${id}-${node}`;
}

/** Every /24 that the lab may use, in the order in which it tries them. */
export function* subnetCandidates(id: string): Generator<string> {
  const start = Number.parseInt(id, 16);
  for (let index = 0; index < CANDIDATES; index++) {
    const slot = (start + index) % (128 * 256);
    // 10.64 to 10.191: home and office networks mostly lie lower.
    yield `10.${64 + (slot >> 8)}.${slot & 255}.0/${PREFIX_LENGTH}`;
  }
}

/** The first candidate that overlaps with nothing the host uses already. */
export function chooseSubnet(id: string, used: readonly Network[]): string {
  for (const candidate of subnetCandidates(id)) {
    const network = parseNetwork(candidate);
    if (network !== undefined && !used.some((other) => overlaps(network, other))) return candidate;
  }
  throw new LabError("precondition", "no free network for the lab between 10.64.0.0 and 10.191.255.255", {
    remedy: "remove a route or an interface that covers all of 10.0.0.0/8",
  });
}

export function nodeNames(count: number): string[] {
  if (!Number.isInteger(count) || count < 1 || count > NODES_MAX) {
    throw new LabError("usage", `a lab has 1 to ${NODES_MAX} nodes, not ${count}`);
  }
  return Array.from({ length: count }, (_, index) => `n${index + 1}`);
}

export function planAddresses(id: string, subnet: string, count: number, controlled = false): AddressPlan {
  const network = parseNetwork(subnet);
  if (network === undefined || network.prefixLength !== PREFIX_LENGTH) {
    throw new LabError("failed", `not a /${PREFIX_LENGTH} network: ${subnet}`);
  }
  const at = (offset: number) => formatAddress(network.address + offset);
  const control: NodePlan = {
    name: CONTROL_NODE,
    ipv4: at(10),
    port: `vb-${machineName(id, CONTROL_NODE)}`,
    automaticRange: `${at(24)}/29`,
  };
  return {
    bridge: bridgeName(id),
    subnet,
    prefixLength: PREFIX_LENGTH,
    hostIpv4: at(1),
    freeAddresses: { first: at(32), last: at(191) },
    nodes: nodeNames(count).map((name, index) => ({
      name,
      ipv4: at(11 + index),
      port: `vb-${machineName(id, name)}`,
      automaticRange: `${at(192 + 8 * index)}/29`,
    })),
    control: controlled ? control : undefined,
  };
}

/** What a lab looks like at this moment, asked of the kernel. */
import { isPortForwarding } from "../network/bridge.ts";
import type { NodeState } from "../node/driver.ts";
import { type Lab, labNodes } from "./lab.ts";

export interface NodeStatus {
  readonly name: string;
  readonly state: NodeState;
  readonly ipv4: string;
  readonly partitioned: boolean;
  readonly rate_bits_per_second: number | null;
  readonly image_store: string;
}

export interface LabStatus {
  readonly name: string;
  readonly phase: string;
  readonly kind: string;
  readonly suite: string;
  readonly cluster: boolean;
  readonly subnet: string;
  readonly bridge: string;
  readonly host_ipv4: string;
  /** Addresses that containers may choose for themselves. */
  readonly free_addresses: { readonly first: string; readonly last: string };
  readonly directory: string;
  readonly nodes: readonly NodeStatus[];
}

export async function labStatus(lab: Lab): Promise<LabStatus> {
  const { state, plan, layout } = lab;
  const nodes = await Promise.all(
    labNodes(lab).map(async ({ record, spec }) => {
      const nodeState = await lab.driver.state(record.name);
      const forwarding = nodeState === "running" ? await isPortForwarding(spec.plan.port) : undefined;
      return {
        name: record.name,
        state: nodeState,
        ipv4: spec.plan.ipv4,
        // A node without a running port will be cut off when it boots, if it was before.
        partitioned: forwarding === undefined ? record.partitioned : !forwarding,
        rate_bits_per_second: record.rateBitsPerSecond,
        image_store: record.imageStore,
      };
    }),
  );
  return {
    name: layout.name,
    phase: state.phase,
    kind: state.kind,
    suite: state.suite,
    cluster: state.cluster,
    subnet: plan.subnet,
    bridge: plan.bridge,
    host_ipv4: plan.hostIpv4,
    free_addresses: plan.freeAddresses,
    directory: layout.directory,
    nodes,
  };
}

export function formatStatus(status: LabStatus): string {
  const head = `lab ${status.name}: ${status.nodes.length} ${status.kind} nodes, ${status.suite}, ${status.phase}`;
  const network = `network ${status.subnet} on ${status.bridge}, host ${status.host_ipv4}`;
  const free = `containers may take ${status.free_addresses.first} to ${status.free_addresses.last}`;
  const nodes = status.nodes.map((node) => {
    const rate = node.rate_bits_per_second === null ? "" : `  ${node.rate_bits_per_second / 1e6} Mbit/s`;
    return `  ${node.name}  ${node.ipv4.padEnd(15)} ${node.state.padEnd(8)}${node.partitioned ? "  partitioned" : ""}${rate}`;
  });
  return [head, network, free, ...nodes, ""].join("\n");
}

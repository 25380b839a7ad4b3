/** What differs from node to node: files written into its root before it boots. */
import { type AddressPlan, allNodes } from "../address/plan.ts";
import type { NodeSpec } from "./driver.ts";

/** Contents by absolute path. */
export function ownFiles({ plan, network }: Pick<NodeSpec, "plan" | "network">): Readonly<Record<string, string>> {
  return {
    "/etc/hostname": `${plan.name}\n`,
    "/etc/hosts": hostsFile(network),
    "/etc/lab/network": `LAB_ADDRESS=${plan.ipv4}/${network.prefixLength}\nLAB_GATEWAY=${network.hostIpv4}\n`,
  };
}

/** Written only where the node has no such file yet: the product adds to it. */
export function firstFiles({ imageStore }: Pick<NodeSpec, "imageStore">): Readonly<Record<string, string>> {
  if (imageStore === "graphdriver") return {};
  return { "/etc/docker/daemon.json": '{ "features": { "containerd-snapshotter": true } }\n' };
}

function hostsFile(network: AddressPlan): string {
  const nodes = allNodes(network).map(({ name, ipv4 }) => `${ipv4} ${name}`);
  return ["127.0.0.1 localhost", "::1 localhost", `${network.hostIpv4} lab-host`, ...nodes, ""].join("\n");
}

/** The Docker network `dray` of every node: macvlan on the lab's network, so that addresses can move between nodes. */
import type { AddressPlan, NodePlan } from "../address/plan.ts";
import { run, succeeds } from "../host/run.ts";
import type { Lab, LabNode } from "./lab.ts";

export const DOCKER_NETWORK = "dray";

export function createNetworkArgv(network: AddressPlan, node: NodePlan): string[] {
  return [
    ...["docker", "network", "create", "--driver=macvlan", "--opt=parent=host0"],
    ...[`--subnet=${network.subnet}`, `--gateway=${network.hostIpv4}`, `--ip-range=${node.automaticRange}`],
    DOCKER_NETWORK,
  ];
}

export async function ensureDockerNetwork(lab: Lab, { spec }: LabNode, signal?: AbortSignal): Promise<void> {
  const { plan, network } = spec;
  const inspect = await lab.driver.command(plan.name, ["docker", "network", "inspect", DOCKER_NETWORK]);
  if (await succeeds(inspect, { signal })) return;
  await run(await lab.driver.command(plan.name, createNetworkArgv(network, plan)), { signal });
}

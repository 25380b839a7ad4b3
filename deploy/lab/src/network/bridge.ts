/** The lab's bridge on the host, and its ports, one per node. */
import { readFile } from "node:fs/promises";
import type { AddressPlan } from "../address/plan.ts";
import { type Network, parseNetwork } from "../address/cidr.ts";
import { hasCode } from "../errors.ts";
import { run, runRaw } from "../host/run.ts";
import { exists } from "../rootfs/cache.ts";

interface IpRoute {
  readonly dst: string;
}

interface IpAddress {
  readonly addr_info: readonly { readonly family: string; readonly local: string; readonly prefixlen: number }[];
}

/** Every IPv4 network that the host has an address in or a route to, except the default route. */
export async function usedNetworks(signal?: AbortSignal): Promise<Network[]> {
  const routes = JSON.parse(await run(["ip", "-4", "-json", "route", "show", "table", "all"], { signal })) as IpRoute[];
  const links = JSON.parse(await run(["ip", "-4", "-json", "address", "show"], { signal })) as IpAddress[];
  const texts = [
    ...routes.map(({ dst }) => dst),
    ...links.flatMap((link) => link.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`)),
  ];
  return texts.flatMap((text) => parseNetwork(text) ?? []).filter(({ prefixLength }) => prefixLength > 0);
}

export async function interfaceExists(name: string): Promise<boolean> {
  return exists(`/sys/class/net/${name}`);
}

/** Makes the bridge, or completes one that is there. */
export async function ensureBridge(plan: AddressPlan, signal?: AbortSignal): Promise<void> {
  const { bridge, hostIpv4, prefixLength } = plan;
  if (!(await interfaceExists(bridge))) {
    // No spanning tree, and no forward delay: a port carries traffic as soon as it is there.
    await run(["ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0"], { signal });
  }
  await run(["ip", "address", "replace", `${hostIpv4}/${prefixLength}`, "dev", bridge], { signal });
  await run(["ip", "link", "set", bridge, "up"], { signal });
}

/** Makes an interface of the host a port of the bridge. */
export async function joinBridge(port: string, bridge: string, signal?: AbortSignal): Promise<void> {
  await run(["ip", "link", "set", port, "master", bridge, "up"], { signal });
}

export async function removeInterface(name: string): Promise<void> {
  if (!(await interfaceExists(name))) return;
  const { exitCode } = await runRaw(["ip", "link", "delete", name]);
  // The kernel may have taken it away with its namespace in between.
  if (exitCode !== 0 && (await interfaceExists(name))) await run(["ip", "link", "delete", name]);
}

/**
 * Lets a port carry traffic or not. The link keeps its carrier: to both sides
 * it looks like a switch that drops every frame.
 */
export async function setPortForwarding(port: string, forwarding: boolean, signal?: AbortSignal): Promise<void> {
  await run(["bridge", "link", "set", "dev", port, "state", forwarding ? "3" : "0"], { signal });
}

/** Whether the port carries traffic; undefined when there is no such port. */
export async function isPortForwarding(port: string): Promise<boolean | undefined> {
  try {
    return (await readFile(`/sys/class/net/${port}/brport/state`, "utf8")).trim() === "3";
  } catch (error) {
    if (hasCode(error, "ENOENT", "EINVAL")) return undefined;
    throw error;
  }
}

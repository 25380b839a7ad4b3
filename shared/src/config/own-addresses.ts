/** Which of a host's addresses others can be told. Pure. */
import type { NetworkInterfaceInfo } from "node:os";

/** Interfaces that containers and virtual machines hang on. */
const INNER_INTERFACE = /^(?:docker|br-|veth|virbr|cni|flannel|cali|podman|lxc|tun|tap|dummy)/;

/** Addresses of outer interfaces, IPv4 first; link-local ones reach nobody without a zone. */
export function ownAddresses(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
): string[] {
  const outer = Object.entries(interfaces)
    .filter(([name]) => !INNER_INTERFACE.test(name))
    .flatMap(([, entries]) => entries ?? [])
    .filter((entry) => !entry.internal && !isLinkLocal(entry.address));
  return [...outer.filter((entry) => entry.family === "IPv4"), ...outer.filter((entry) => entry.family === "IPv6")].map(
    (entry) => entry.address,
  );
}

function isLinkLocal(address: string): boolean {
  return /^(?:169\.254\.|fe[89ab][0-9a-f]:)/i.test(address);
}

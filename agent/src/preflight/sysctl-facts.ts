/** Which of the sysctls that a container was given this host does not have. */
import { access } from "node:fs/promises";
import type { ContainerInspect } from "../docker/types.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { isOfAnInterface } from "./network-namespace.ts";

/** Those of its namespaces' network that a host either has or has not. Pure. */
export function networkSysctlsOf({ HostConfig }: Pick<ContainerInspect, "HostConfig">): string[] {
  const sysctls = HostConfig.Sysctls ?? {};
  if (typeof sysctls !== "object") return [];
  return Object.keys(sysctls).filter((name) => name.startsWith("net.") && !isOfAnInterface(name));
}

/** The host's own namespace has all that any other has. */
export async function missingSysctls(inspect: ContainerInspect): Promise<string[]> {
  const names = networkSysctlsOf(inspect);
  const here = await Promise.all(
    names.map((name) => unlessGone(access(`/proc/sys/${name.replaceAll(".", "/")}`).then(() => name))),
  );
  return names.filter((name) => !here.includes(name));
}

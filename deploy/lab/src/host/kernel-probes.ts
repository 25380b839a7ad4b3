/** Tries out what the lab and the product need of the kernel, each in a network namespace thrown away at once. */
import type { Finding } from "./doctor.ts";
import { runRaw } from "./run.ts";

export interface KernelProbe {
  readonly check: string;
  /** Shell text; `veth0` is an interface to try it on. */
  readonly script: string;
  readonly verdict: "note" | "missing";
  readonly without: string;
  readonly remedy: string;
}

const MODULE_REMEDY = "boot a kernel that has it; Debian's does";
const hookScript = (hook: string) =>
  `nft add table netdev probe && nft add chain netdev probe frames '{ type filter hook ${hook} device veth0 priority 0; }'`;

export const KERNEL_PROBES: readonly KernelProbe[] = [
  {
    check: "namespaces",
    script: "true",
    verdict: "missing",
    without: "this process may not make namespaces",
    remedy: "run as root, outside an unprivileged container",
  },
  {
    check: "bridge",
    script: "ip link add probe type bridge",
    verdict: "missing",
    without: "nodes cannot be joined",
    remedy: MODULE_REMEDY,
  },
  {
    check: "macvlan",
    script: "ip link add probe link veth0 type macvlan mode bridge",
    verdict: "missing",
    without: "addresses cannot move between nodes",
    remedy: MODULE_REMEDY,
  },
  {
    check: "tbf",
    script: "tc qdisc add dev veth0 root tbf rate 1gbit burst 128kb latency 50ms",
    verdict: "note",
    without: "lab link cannot limit rates",
    remedy: MODULE_REMEDY,
  },
  {
    check: "nftables, inet",
    script: "nft add table inet probe && nft add chain inet probe in '{ type filter hook input priority 0; }'",
    verdict: "missing",
    without: "the network lock needs it",
    remedy: MODULE_REMEDY,
  },
  {
    check: "nftables, netdev ingress",
    script: hookScript("ingress"),
    verdict: "note",
    without: "frames cannot be filtered where they arrive",
    remedy: MODULE_REMEDY,
  },
  {
    check: "nftables, netdev egress",
    script: hookScript("egress"),
    verdict: "note",
    without: "frames cannot be filtered where they leave; announcements of an address cannot be held back there",
    remedy: "boot a kernel from 5.16 on with CONFIG_NETFILTER_EGRESS",
  },
];

/** Runs a probe in a mount and network namespace of its own, which end with it. */
export async function runProbe(probe: KernelProbe, signal?: AbortSignal): Promise<Finding> {
  const script = `set -e; ip link add veth0 type veth peer name veth1; ${probe.script}`;
  const { exitCode, stderr } = await runRaw(["unshare", "--net", "--mount", "/bin/sh", "-c", script], { signal });
  if (exitCode === 0) return { check: `kernel: ${probe.check}`, verdict: "ok", detail: "", remedy: "" };
  const said = stderr.trim().split("\n")[0] ?? "";
  return {
    check: `kernel: ${probe.check}`,
    verdict: probe.verdict,
    detail: said === "" ? probe.without : `${probe.without} (${said})`,
    remedy: probe.remedy,
  };
}

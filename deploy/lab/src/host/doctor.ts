/** What this machine lacks for a lab, each with the remedy. Nothing is changed. */
import { readFile, statfs } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import { dirname } from "node:path";
import { hasCode } from "../errors.ts";
import { labsDirectory } from "../lab/layout.ts";
import { unifiedRoot } from "../node/cgroup.ts";
import { cacheDirectory, exists } from "../rootfs/cache.ts";
import { MEMORY_MIB } from "../vm/qemu.ts";
import { KERNEL_PROBES, runProbe } from "./kernel-probes.ts";
import { findMirror } from "./mirror.ts";
import { KIND_REQUIREMENTS, missingRequirements, REQUIREMENTS, type Requirement } from "./requirements.ts";
import { runRaw } from "./run.ts";
import { lowLimits } from "./sysctl.ts";

/** `missing`: no lab without it. `note`: a lab works, with the limit said. */
export type Verdict = "ok" | "note" | "missing";

export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  readonly detail: string;
  readonly remedy: string;
}

const GIB = 1024 ** 3;
const DISK_WANTED_BYTES = 8 * GIB;
const MEMORY_WANTED_BYTES = 4 * GIB;
/** What QEMU takes beside the memory of its machine. */
const EMULATOR_GIB = 0.5;
const OVERLAY_MAGIC = 0x794c7630;
const TMPFS_MAGIC = 0x01021994;

function ok(check: string, detail = ""): Finding {
  return { check, verdict: "ok", detail, remedy: "" };
}

export async function examineHost(signal?: AbortSignal): Promise<Finding[]> {
  const findings = [
    await programs("programs", [...REQUIREMENTS, ...KIND_REQUIREMENTS.container]),
    await mirror(),
    await cgroups(),
    await machineId(),
    ...(await limits()),
    ...(await disks()),
    memory(),
    await forwardFilter(signal),
  ];
  for (const probe of KERNEL_PROBES) findings.push(await runProbe(probe, signal));
  return [...findings, ...(await virtualMachines())];
}

/** What only nodes of kind vm need: none of it is missing for a lab. */
async function virtualMachines(): Promise<Finding[]> {
  const lack = (check: string, detail: string, remedy: string): Finding => ({ check, verdict: "note", detail, remedy });
  const findings = [await programs("vm nodes: programs", KIND_REQUIREMENTS.vm)];
  for (const [needs, remedy] of [
    ["/dev/net/tun", "modprobe tun, or boot a kernel that has it; Debian's does"],
    ["/proc/sys/net/ipv6", "boot without ipv6.disable=1: commands get into a machine over IPv6"],
  ] as const) {
    findings.push((await exists(needs)) ? ok(`vm nodes: ${needs}`) : lack(`vm nodes: ${needs}`, "not there", remedy));
  }
  if (process.arch !== "x64") {
    findings.push(lack("vm nodes: processor", `${process.arch}: only x64 is emulated`, "use an x64 host"));
  }
  const perNode = MEMORY_MIB / 1024 + EMULATOR_GIB;
  const nodes = Math.floor(freemem() / GIB / perNode);
  const detail = `${(freemem() / GIB).toFixed(1)} GiB free, a node takes up to ${perNode}`;
  findings.push(
    nodes >= 2 ? ok("vm nodes: memory", detail) : lack("vm nodes: memory", detail, "end something, or use --nodes 1"),
  );
  return findings;
}

async function programs(check: string, requirements: readonly Requirement[]): Promise<Finding> {
  const missing = await missingRequirements(requirements);
  if (missing.length === 0) return ok(check);
  const packages = [...new Set(missing.map((requirement) => requirement.package))].join(" ");
  return {
    check,
    verdict: "note",
    detail: `missing: ${missing.map(({ needs, why }) => `${needs} (${why})`).join(", ")}`,
    remedy: `lab up installs them, or: apt-get install ${packages}`,
  };
}

async function mirror(): Promise<Finding> {
  try {
    await findMirror();
    return ok("Debian mirror");
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return {
      check: "Debian mirror",
      verdict: "missing",
      detail,
      remedy: "set DRAYAGE_LAB_MIRROR to the address of one",
    };
  }
}

async function cgroups(): Promise<Finding> {
  const root = await unifiedRoot();
  if (root !== undefined) return ok("cgroup v2", root);
  return {
    check: "cgroup v2",
    verdict: "missing",
    detail: "no cgroup v2 tree",
    remedy: "mkdir /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
  };
}

async function machineId(): Promise<Finding> {
  try {
    if (/^[0-9a-f]{32}\n?$/.test(await readFile("/etc/machine-id", "utf8"))) return ok("machine id");
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
  return {
    check: "machine id",
    verdict: "missing",
    detail: "/etc/machine-id is not there or empty; the addresses of links are derived from it",
    remedy: "systemd-machine-id-setup",
  };
}

async function limits(): Promise<Finding[]> {
  const low = await lowLimits();
  if (low.length === 0) return [ok("kernel limits")];
  return low.map(({ path, value, wanted, why }) => ({
    check: `kernel limit ${path.replaceAll("/", ".")}`,
    verdict: "note",
    detail: `${value}, wanted ${wanted}: ${why}`,
    remedy: `lab up raises it until reboot, or: sysctl ${path.replaceAll("/", ".")}=${wanted}`,
  }));
}

async function disks(): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [what, path] of [
    ["disk for labs", labsDirectory()],
    ["disk for the cache", cacheDirectory()],
  ] as const) {
    const { type, bavail, bsize } = await statfs(await nearestExisting(path));
    const freeBytes = bavail * bsize;
    if (what === "disk for labs" && (type === OVERLAY_MAGIC || type === TMPFS_MAGIC)) {
      findings.push({
        check: what,
        verdict: "missing",
        detail: `${path} is on ${type === TMPFS_MAGIC ? "tmpfs" : "an overlay"}, on which Docker's overlays do not stack`,
        remedy: "mount a directory of a real disk (ext4, xfs) there",
      });
    } else if (freeBytes < DISK_WANTED_BYTES) {
      findings.push({
        check: what,
        verdict: "note",
        detail: `${(freeBytes / GIB).toFixed(1)} GiB free at ${path}, ${DISK_WANTED_BYTES / GIB} wanted`,
        remedy: "free some space",
      });
    } else findings.push(ok(what, `${(freeBytes / GIB).toFixed(0)} GiB free`));
  }
  return findings;
}

async function nearestExisting(path: string): Promise<string> {
  return (await exists(path)) ? path : nearestExisting(dirname(path));
}

function memory(): Finding {
  const detail = `${(totalmem() / GIB).toFixed(1)} GiB`;
  if (totalmem() >= MEMORY_WANTED_BYTES) return ok("memory", detail);
  return { check: "memory", verdict: "note", detail, remedy: "use --nodes 2, or a machine with 4 GiB" };
}

/** A host with a Docker or a firewall of its own may drop what its bridges forward. */
async function forwardFilter(signal: AbortSignal | undefined): Promise<Finding> {
  const check = "bridged traffic";
  const { exitCode, stdout } = await runRaw(["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"], { signal });
  if (exitCode !== 0 || stdout.trim() !== "1" || !(await exists("/usr/sbin/nft"))) return ok(check);
  const { stdout: rules } = await runRaw(["nft", "list", "ruleset"], { signal });
  if (!/hook forward[^\n]*policy drop/.test(rules)) return ok(check);
  return {
    check,
    verdict: "missing",
    detail: "the host's packet filter drops what is forwarded, and applies to bridges",
    remedy: "sysctl net.bridge.bridge-nf-call-iptables=0",
  };
}

export function formatFindings(findings: readonly Finding[]): string {
  const marks: Readonly<Record<Verdict, string>> = { ok: "ok     ", note: "note   ", missing: "MISSING" };
  return findings
    .map(({ check, verdict, detail, remedy }) => {
      const head = `${marks[verdict]}  ${check}${detail === "" ? "" : `: ${detail}`}`;
      return remedy === "" ? head : `${head}\n           remedy: ${remedy}`;
    })
    .join("\n");
}

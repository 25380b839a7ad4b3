/** Programs, kernel and processor of one host, and of two that must agree. */
import { basename } from "node:path";
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { hasSecurityOption } from "../../docker/security-options.ts";
import { API_VERSION } from "../../docker/transport.ts";
import type { DockerInfo } from "../../docker/types.ts";
import { type Check, when } from "../check.ts";
import type { DestinationFacts } from "../destination-facts.ts";
import type { Words } from "../finding.ts";
import type { PipeFacts, SourceFacts } from "../source-facts.ts";

/** Kernels from 6.16 on have socket options and a vDSO that older CRIU cannot read. */
const NEW_KERNEL = [6, 16] as const;
const CRIU_FOR_NEW_KERNEL = 40_200;
/** The first that can do without a network lock of its own. None before 4.1.1 was tried. */
const CRIU_OLDEST = 31_900;
/** Of `criu check --feature`. */
const TIME_NAMESPACES = "timens";
/** Lazy restore moves pages through pipes of this size. */
const PIPE_WANTED_BYTES = 4 * 1024 * 1024;
/** Runtimes that are runc, or pass on to it. */
const RUNC_LIKE = new Set(["runc", "drayage-runc", "io.containerd.runc.v2"]);
/** Flags that say how the kernel measures or protects, not what programs may execute. */
const INVISIBLE_FLAGS =
  /^(constant_tsc|nonstop_tsc|tsc_.*|rep_good|nopl|cpuid|cpuid_fault|aperfmperf|arat|arch_.*|hypervisor|md_clear|flush_l1d|ibrs.*|ibpb.*|stibp.*|ssbd|virt_ssbd|pti|retpoline.*|acpi|apic|x2apic|mtrr|mca|mce|dts|dtherm|ida|pln|pts|hwp.*|epb|pebs|bts|dtes64|monitor|ds_cpl|est|tm|tm2|xtpr|pdcm|vmx|svm|ept.*|vpid|flexpriority|tpr_shadow|vnmi|user_shstk|perfctr_.*|cat_.*|cdp_.*|cqm.*|rdt_a|mba|smap|smep|umip|nx|pge|pse|pse36|pat|pcid|invpcid.*|la57|split_lock_detect|bus_lock_detect)$/;

interface OneHost {
  readonly host: HostFacts;
  readonly info: DockerInfo;
  readonly pipes: PipeFacts;
}

/** For both sides. */
export const HOST_CHECKS: readonly Check<OneHost>[] = [
  {
    code: "criu-missing",
    severity: "blocking",
    find: ({ host }) => when(host.criuVersion === 0, "CRIU is not installed here.", "Install it: `apt install criu`."),
  },
  {
    code: "criu-too-old",
    severity: "blocking",
    find: ({ host }) => {
      const needed = isAtLeast(host.kernel, NEW_KERNEL) ? CRIU_FOR_NEW_KERNEL : CRIU_OLDEST;
      return when(
        host.criuVersion !== 0 && host.criuVersion < needed,
        `CRIU ${criuName(host.criuVersion)} is too old for kernel ${host.kernel}.`,
        `Install CRIU ${criuName(needed)} or newer.`,
      );
    },
  },
  {
    code: "criu-check-failed",
    severity: "blocking",
    find: ({ host }) =>
      when(
        host.criuObjection !== "",
        `CRIU says that it does not work on the kernel here (${host.kernel}): ${host.criuObjection}.`,
        "Boot a kernel that has what CRIU asks for, such as Debian's, or install a newer CRIU; `criu check` here must succeed.",
      ),
  },
  {
    code: "runc-missing",
    severity: "blocking",
    find: ({ host }) => when(host.runcVersion === "", "runc is not installed here.", "Install it: `apt install runc`."),
  },
  {
    code: "docker-too-old",
    severity: "blocking",
    find: ({ host }) =>
      when(
        Number.parseInt(host.dockerVersion, 10) < 25,
        `Docker ${host.dockerVersion} does not speak API ${API_VERSION}.`,
        "Install Docker 25 or newer.",
      ),
  },
  {
    code: "rootless",
    severity: "blocking",
    find: ({ info }) =>
      when(
        hasSecurityOption(info, "rootless"),
        "Docker runs rootless here.",
        "Use a Docker that runs as root; CRIU needs it.",
      ),
  },
  {
    code: "userns-remap",
    severity: "blocking",
    find: ({ info }) =>
      when(
        hasSecurityOption(info, "userns"),
        "Docker maps user ids here (userns-remap); the ids in memory and layer would be others on the other host.",
        "Switch userns-remap off in Docker's daemon.json.",
      ),
  },
  {
    code: "pipe-max-size",
    severity: "note",
    find: ({ pipes }) =>
      when(
        pipes.maxSizeBytes < PIPE_WANTED_BYTES && !pipes.mayExceed,
        `Pipes are limited to ${pipes.maxSizeBytes} bytes and the agent lacks CAP_SYS_RESOURCE: post-copy would fail.`,
        "Raise it: `sysctl fs.pipe-max-size=268435456`.",
      ),
  },
];

export const SOURCE_RUNTIME_CHECKS: readonly Check<SourceFacts>[] = [
  {
    code: "unsupported-runtime",
    severity: "blocking",
    find: ({ inspect, info }) => {
      const runtime = String(inspect.HostConfig.Runtime ?? "") || info.DefaultRuntime;
      const program = basename(info.Runtimes?.[runtime]?.path ?? "") || runtime;
      return when(
        runtime !== "drayage" && !RUNC_LIKE.has(program),
        `The container runs under ${runtime} (${program}), which is not runc.`,
        "Run it under runc or drayage; crun, kata and gVisor cannot be migrated.",
      );
    },
  },
  {
    code: "own-userns",
    severity: "blocking",
    find: ({ inspect }) => {
      const mode = String(inspect.HostConfig.UsernsMode ?? "");
      return when(
        mode !== "" && mode !== "host",
        `The container has a user namespace (${mode}).`,
        "Start it without --userns.",
      );
    },
  },
];

/** Does the destination have what the source's images will ask for. */
export const AGREEMENT_CHECKS: readonly Check<DestinationFacts>[] = [
  {
    code: "runtime-not-registered",
    severity: "blocking",
    find: ({ info }) =>
      when(
        info.Runtimes?.drayage === undefined,
        "Docker does not know the runtime drayage here.",
        "Install the package drayage again, or add the runtime to daemon.json and reload Docker.",
      ),
  },
  {
    code: "architecture-differs",
    severity: "blocking",
    find: ({ sourceHost, host }) =>
      when(
        sourceHost.architecture !== host.architecture,
        `This host is ${host.architecture}, the source ${sourceHost.architecture}.`,
        "Choose a host of the same architecture.",
      ),
  },
  {
    // CRIU judges, but knows only instructions of its time and names none; the flags name them, newer ones too.
    code: "cpu-differs",
    severity: "blocking",
    find: ({ sourceHost, host, cpu }) => {
      const here = new Set(host.cpuFlags);
      const missing = sourceHost.cpuFlags.filter((flag) => !here.has(flag) && !INVISIBLE_FLAGS.test(flag));
      const reasons = [
        ...(missing.length > 0 ? [`it lacks ${missing.join(", ")}`] : []),
        ...(cpu.objection === "" ? [] : [`CRIU says: ${cpu.objection}`]),
      ];
      return when(
        sourceHost.architecture === host.architecture && reasons.length > 0,
        `The processor here cannot go on with what the source's has begun: ${reasons.join("; ")}.`,
        "Choose a host with the same processor (compare `lscpu`), or hide the difference if they are virtual machines.",
      );
    },
  },
  {
    code: "cpu-not-compared",
    severity: "note",
    find: ({ sourceHost, host, cpu }) =>
      when(
        sourceHost.architecture === host.architecture && host.criuVersion !== 0 && !cpu.compared,
        `CRIU has not compared the processors (${host.architecture}); only the flags in /proc/cpuinfo were.`,
        "Migrate between hosts with the same processor.",
      ),
  },
  {
    code: "sysctl-missing",
    severity: "blocking",
    find: ({ missingSysctls }) =>
      when(
        missingSysctls.length > 0,
        `The kernel here does not have what the container was given: ${missingSysctls.join(", ")}.`,
        "Load the kernel module that brings it, or start the container without that --sysctl.",
      ),
  },
  {
    code: "cgroup-version-differs",
    severity: "blocking",
    find: ({ sourceHost, host }) =>
      when(
        sourceHost.cgroupVersion !== host.cgroupVersion,
        `This host has cgroup ${host.cgroupVersion}, the source ${sourceHost.cgroupVersion}.`,
        "Boot both hosts with the same cgroup version (systemd.unified_cgroup_hierarchy=1).",
      ),
  },
  {
    code: "cgroup-driver-differs",
    severity: "blocking",
    find: ({ sourceHost, host }) =>
      when(
        sourceHost.cgroupDriver !== host.cgroupDriver,
        `Docker uses the cgroup driver ${host.cgroupDriver} here, ${sourceHost.cgroupDriver} on the source.`,
        "Set native.cgroupdriver alike in both daemon.json.",
      ),
  },
  {
    code: "criu-older-than-source",
    severity: "blocking",
    find: ({ sourceHost, host }) =>
      when(
        host.criuVersion !== 0 && minor(host.criuVersion) < minor(sourceHost.criuVersion),
        `CRIU ${criuName(host.criuVersion)} here is older than ${criuName(sourceHost.criuVersion)}, which writes the images.`,
        "Install the source's version of CRIU here.",
      ),
  },
  {
    code: "criu-feature-missing",
    severity: "blocking",
    find: ({ sourceHost, host }) =>
      when(
        sourceHost.criuFeatures.includes(TIME_NAMESPACES) && !host.criuFeatures.includes(TIME_NAMESPACES),
        "CRIU cannot restore time namespaces here, which the source uses.",
        "Install a kernel with CONFIG_TIME_NS and a CRIU that knows it.",
      ),
  },
  {
    code: "criu-features-differ",
    severity: "note",
    find: ({ sourceHost, host }) => {
      const missing = sourceHost.criuFeatures.filter(
        (feature) => feature !== TIME_NAMESPACES && !host.criuFeatures.includes(feature),
      );
      return when(
        missing.length > 0,
        `CRIU here lacks features that it has on the source: ${missing.join(", ")}.`,
        "Modes that need them are not used.",
      );
    },
  },
  {
    code: "kernel-older",
    severity: "note",
    find: ({ sourceHost, host }) => {
      const [major = 0, minorOf = 0] = kernelNumbers(sourceHost.kernel);
      return when(
        !isAtLeast(host.kernel, [major, minorOf]),
        `The kernel here (${host.kernel}) is older than the source's (${sourceHost.kernel}).`,
        "If the restore fails because of it, the container goes on on the source as before.",
      );
    },
  },
  {
    code: "security-profile-missing",
    severity: "blocking",
    find: ({ inspect, host, sourceHost }) => [
      ...missingAppArmor(inspect.AppArmorProfile ?? "", host, sourceHost),
      ...missingSelinux(inspect.ProcessLabel ?? "", host, sourceHost),
    ],
  },
];

function missingAppArmor(profile: string, host: HostFacts, sourceHost: HostFacts): readonly Words[] {
  const loadedOn = ({ securityProfiles }: HostFacts) => securityProfiles.filter((name) => name.startsWith("apparmor:"));
  // Docker names its profile also where nothing could load it: then it holds nobody.
  if (profile === "docker-default" && loadedOn(sourceHost).length === 0) return [];
  const loaded = loadedOn(host);
  // Docker loads its own profile when it first needs it.
  const there = profile === "docker-default" ? loaded.length > 0 : loaded.includes(`apparmor:${profile}`);
  return when(
    profile !== "" && profile !== "unconfined" && !there,
    `The AppArmor profile ${profile} is not loaded here.`,
    "Load it with apparmor_parser, or start the container with --security-opt apparmor=unconfined.",
  );
}

function missingSelinux(label: string, host: HostFacts, sourceHost: HostFacts): readonly Words[] {
  if (label === "") return [];
  if (!host.securityProfiles.some((name) => name.startsWith("selinux:"))) {
    return [
      {
        message: `The container has the SELinux label ${label}, and SELinux is off here.`,
        remedy: "Switch SELinux on here, or start the container with --security-opt label=disable.",
      },
    ];
  }
  const enforces = ({ securityProfiles }: HostFacts) => securityProfiles.includes("selinux:enforcing");
  return when(
    enforces(sourceHost) && !enforces(host),
    `The container has the SELinux label ${label}, which the source enforces and this host does not.`,
    "Switch enforcing on here (`setenforce 1`), or start the container with --security-opt label=disable.",
  );
}

function kernelNumbers(release: string): number[] {
  return release.split(/[.-]/, 2).map(Number);
}

function isAtLeast(release: string, [major, minorOf]: readonly [number, number]): boolean {
  const [hasMajor = 0, hasMinor = 0] = kernelNumbers(release);
  return hasMajor > major || (hasMajor === major && hasMinor >= minorOf);
}

function minor(criuVersion: number): number {
  return Math.floor(criuVersion / 100);
}

export function criuName(version: number): string {
  return version === 0 ? "none" : `${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
}

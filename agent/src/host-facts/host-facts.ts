/** What this host is, as far as two hosts must agree, and what it has to give. */
import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, machine, release } from "node:os";
import { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { criuFeatures, criuObjection, criuVersion, runcVersion } from "../criu/versions.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import { parseAppArmorProfiles, parseCpuFlags, parseMeminfo } from "./proc-files.ts";

export interface HostState {
  readonly facts: HostFacts;
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  readonly cpus: number;
}

export interface HostFactsSource {
  /**
   * Facts are kept, unless CRIU is missing or does not work, which may be mended at any time; memory is read anew each
   * time. `refresh` gathers all anew.
   */
  current(options?: { readonly refresh?: boolean; readonly signal?: AbortSignal | undefined }): Promise<HostState>;
}

const CGROUP2_SUPER_MAGIC = 0x63677270;

export function openHostFacts(options: {
  readonly docker: DockerPort;
  readonly drayageVersion: string;
}): HostFactsSource {
  let kept: HostFacts | undefined;
  return {
    async current({ refresh = false, signal } = {}) {
      const isFit = kept !== undefined && kept.criuVersion > 0 && kept.criuObjection === "";
      // Its own, not what another call has found since, perhaps from before.
      const facts =
        kept === undefined || refresh || !isFit ? await gather(options.docker, options.drayageVersion, signal) : kept;
      kept = facts;
      const memory = parseMeminfo(await readFile("/proc/meminfo", "utf8"));
      return {
        facts,
        memoryTotalBytes: memory.totalBytes,
        memoryAvailableBytes: memory.availableBytes,
        cpus: availableParallelism(),
      };
    },
  };
}

async function gather(docker: DockerPort, drayageVersion: string, signal: AbortSignal | undefined): Promise<HostFacts> {
  const [info, version, criu, runc, cpuinfo, cgroup, profiles] = await Promise.all([
    docker.info({ signal }),
    docker.version({ signal }),
    criuVersion(signal),
    runcVersion("runc", signal),
    readFile("/proc/cpuinfo", "utf8"),
    cgroupVersion(),
    securityProfiles(),
  ]);
  const [features, objection] =
    criu === 0 ? [[], ""] : await Promise.all([criuFeatures(signal), criuObjection(signal)]);
  return HostFacts.fromPartial({
    kernel: release(),
    criuVersion: criu,
    architecture: machine(),
    cpuFlags: parseCpuFlags(cpuinfo),
    cgroupVersion: cgroup,
    cgroupDriver: info.CgroupDriver,
    criuFeatures: [...features].sort(),
    criuObjection: objection,
    dockerVersion: version.Version,
    runcVersion: runc,
    drayageVersion,
    securityProfiles: profiles,
  });
}

async function cgroupVersion(): Promise<"v1" | "v2" | "hybrid"> {
  if (await isCgroup2("/sys/fs/cgroup")) return "v2";
  return (await isCgroup2("/sys/fs/cgroup/unified")) ? "hybrid" : "v1";
}

async function isCgroup2(path: string): Promise<boolean> {
  const found = await ifThere(statfs(path));
  return found?.type === CGROUP2_SUPER_MAGIC;
}

/** "apparmor:<profile>" for each loaded profile, "selinux:enforcing" or "selinux:permissive". */
async function securityProfiles(): Promise<string[]> {
  const apparmor = await ifThere(readFile("/sys/kernel/security/apparmor/profiles", "utf8"));
  const enforce = await ifThere(readFile("/sys/fs/selinux/enforce", "utf8"));
  return [
    ...parseAppArmorProfiles(apparmor ?? "").map((profile) => `apparmor:${profile}`),
    ...(enforce === undefined ? [] : [enforce.trim() === "1" ? "selinux:enforcing" : "selinux:permissive"]),
  ].sort();
}

async function ifThere<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    // Without the module, or in a container without its file system, there is nothing to read.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EACCES" || code === "EPERM") return undefined;
    throw thrown;
  }
}

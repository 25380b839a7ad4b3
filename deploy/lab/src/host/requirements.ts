/** Programs that the lab needs of the host, and the Debian packages that bring them. */
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { LabError } from "../errors.ts";
import type { NodeKind } from "../node/driver.ts";
import type { Progress } from "../progress.ts";
import { exists } from "../rootfs/cache.ts";
import { run, succeeds } from "./run.ts";

export interface Requirement {
  /** A program looked for in PATH, or an absolute path. */
  readonly needs: string;
  readonly package: string;
  readonly why: string;
}

export const REQUIREMENTS: readonly Requirement[] = [
  { needs: "mmdebstrap", package: "mmdebstrap", why: "builds root file systems" },
  {
    needs: "/usr/share/keyrings/debian-archive-keyring.gpg",
    package: "debian-archive-keyring",
    why: "proves packages",
  },
  { needs: "ip", package: "iproute2", why: "makes the bridge" },
  { needs: "bridge", package: "iproute2", why: "cuts ports" },
  { needs: "tc", package: "iproute2", why: "shapes links" },
  { needs: "nft", package: "nftables", why: "probes the kernel" },
  { needs: "modprobe", package: "kmod", why: "loads kernel modules" },
  { needs: "tar", package: "tar", why: "copies files" },
  { needs: "dpkg-deb", package: "dpkg", why: "builds the packages" },
  { needs: "gcc", package: "gcc", why: "builds drayage-runc" },
  { needs: "/usr/include/stdlib.h", package: "libc6-dev", why: "builds drayage-runc" },
];

/** What one kind of node needs besides. */
export const KIND_REQUIREMENTS: Readonly<Record<NodeKind, readonly Requirement[]>> = {
  container: [
    { needs: "systemd-nspawn", package: "systemd-container", why: "runs the nodes" },
    { needs: "nsenter", package: "util-linux", why: "runs commands in nodes" },
  ],
  vm: [
    { needs: "qemu-system-x86_64", package: "qemu-system-x86", why: "runs the nodes" },
    { needs: "qemu-img", package: "qemu-utils", why: "makes their disks" },
    { needs: "mke2fs", package: "e2fsprogs", why: "makes the disk of all" },
    { needs: "depmod", package: "kmod", why: "sorts the modules of their kernel" },
    { needs: "xz", package: "xz-utils", why: "unpacks the modules of their kernel" },
    { needs: "ssh", package: "openssh-client", why: "runs commands in nodes" },
    { needs: "ssh-keygen", package: "openssh-client", why: "makes keys for that" },
  ],
};

const SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export async function missingRequirements(requirements: readonly Requirement[] = REQUIREMENTS): Promise<Requirement[]> {
  const found = await Promise.all(requirements.map(({ needs }) => isThere(needs)));
  return requirements.filter((_, index) => !found[index]);
}

async function isThere(needs: string): Promise<boolean> {
  if (needs.startsWith("/")) return exists(needs);
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), ...SYSTEM_PATH];
  for (const directory of directories) {
    try {
      await access(join(directory, needs), 1);
      return true;
    } catch {
      // Not in this directory; the next one may have it.
    }
  }
  return false;
}

/** Installs what is not there with apt-get; by default what every lab needs. */
export async function installMissing(
  progress: Progress,
  signal?: AbortSignal,
  requirements: readonly Requirement[] = REQUIREMENTS,
): Promise<void> {
  const missing = await missingRequirements(requirements);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((requirement) => requirement.package))];
  if (!(await isThere("apt-get"))) {
    throw new LabError("precondition", `this machine lacks ${packages.join(", ")}, and has no apt-get`, {
      remedy: "run the lab on Debian, or install them by hand",
    });
  }
  for (const { needs, package: name, why } of missing) progress.step(`missing: ${needs} (${name}: ${why})`);
  progress.step(`installing ${packages.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", ...packages];
  if (await succeeds(install, { env, signal })) return;
  progress.step("refreshing the package lists");
  await run(["apt-get", "update", "--quiet"], { env, signal });
  await run(install, { env, signal });
}

/**
 * Lets CRIU work in nodes on hosts that withhold CAP_SYS_RESOURCE; see
 * ../../resource-limits/resource-limits.c. Where the capability is there,
 * nodes get nothing of this.
 */
import { createHash, randomUUID } from "node:crypto";
import { chmod, copyFile, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../host/run.ts";
import { cacheDirectory, exists } from "../rootfs/cache.ts";

const SOURCE = fileURLToPath(new URL("../../resource-limits/resource-limits.c", import.meta.url));
const LIBRARY = "/usr/local/lib/resource-limits.so";
/** Before /usr/sbin in every PATH that systemd and Docker give. */
const WRAPPER = "/usr/local/sbin/criu";
const CAP_SYS_RESOURCE = 24n;

/** Whether the capability is in the bounding set, by the text of /proc/self/status. Pure. */
export function hasSysResource(status: string): boolean {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return ((BigInt(`0x${bounding}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
}

/** Puts library and wrapper into a node's root if this host needs them there. */
export async function installResourceLimits(root: string, signal?: AbortSignal): Promise<void> {
  if (hasSysResource(await readFile("/proc/self/status", "utf8"))) return;
  const library = await buildLibrary(signal);
  await mkdir(join(root, dirname(LIBRARY)), { recursive: true });
  await copyFile(library, join(root, LIBRARY));
  await mkdir(join(root, dirname(WRAPPER)), { recursive: true });
  // With what its caller has it load.
  const load = `LD_PRELOAD=${LIBRARY}\${LD_PRELOAD:+:$LD_PRELOAD}`;
  await writeFile(join(root, WRAPPER), `#!/bin/sh\n${load} exec /usr/sbin/criu "$@"\n`);
  await chmod(join(root, WRAPPER), 0o755);
}

/** Built once for each content of the source. */
async function buildLibrary(signal: AbortSignal | undefined): Promise<string> {
  const digest = createHash("sha256")
    .update(await readFile(SOURCE))
    .digest("hex")
    .slice(0, 16);
  const path = join(cacheDirectory(), `resource-limits-${digest}.so`);
  if (await exists(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}`;
  await run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", temporary, SOURCE], { signal });
  await rename(temporary, path);
  return path;
}

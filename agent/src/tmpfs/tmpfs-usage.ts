/** How much lies in a container's file systems in memory: its copy takes as much, beside the memory of its processes. */
import { statfs } from "node:fs/promises";
import type { Mount } from "../host/mountinfo.ts";
import { unlessGone } from "../host/unless-gone.ts";

/**
 * Those that are the container's own, also where CRIU carries them; by file system, so that one that is mounted twice
 * is there once. Pure.
 *
 * @param container mounts that the container's first process sees
 * @param host those that this process sees
 */
export function ownTmpfs(container: readonly Mount[], host: readonly Mount[]): ReadonlyMap<string, Mount> {
  const hostDevices = new Set(host.map(({ device }) => device));
  return new Map(
    container
      .filter(({ type, device }) => type === "tmpfs" && !hostDevices.has(device))
      .map((mount) => [mount.device, mount]),
  );
}

/** In all of these together, bytes. What is unmounted meanwhile counts nothing. */
export async function usedBytes(initPid: number, mounts: Iterable<Mount>): Promise<number> {
  const used = await Promise.all(
    [...mounts].map(async ({ mountPoint }) => {
      const found = await unlessGone(statfs(`/proc/${initPid}/root${mountPoint}`));
      return found === undefined ? 0 : (found.blocks - found.bfree) * found.bsize;
    }),
  );
  return used.reduce((total, bytes) => total + bytes, 0);
}

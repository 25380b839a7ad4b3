/** Where a container's writable layer is on this host. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { containerdQuery } from "../docker/containerd.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import { mountsOf } from "../host/mountinfo.ts";

/**
 * Upper directory of the container's root file system, whether the container runs or was only created. Throws
 * NOT_FOUND if there is no such container, DOCKER_ERROR if its storage driver has no upper directory.
 */
export async function layerDirectory(docker: DockerPort, dockerId: string, signal?: AbortSignal): Promise<string> {
  const inspect = await docker.inspectContainer(dockerId, { signal });
  const graphUpper = inspect.GraphDriver?.Data?.UpperDir;
  if (graphUpper !== undefined) return graphUpper;
  const upper =
    inspect.State.Pid > 0 ? await mountedUpper(inspect.State.Pid) : await snapshotUpper(docker, inspect.Id, signal);
  if (upper !== undefined) return upper;
  throw new DrayError("DOCKER_ERROR", `the root file system of ${inspect.Name.slice(1)} has no writable layer`, {
    remedy: "Use the overlay2 storage driver, or the overlayfs snapshotter of the containerd image store.",
  });
}

async function mountedUpper(pid: number): Promise<string | undefined> {
  const root = (await mountsOf(pid)).findLast(({ mountPoint, type }) => mountPoint === "/" && type === "overlay");
  return upperOf(root?.superOptions ?? []);
}

/** With the containerd store a container has a snapshot of its own name, mounted only while it runs. */
async function snapshotUpper(docker: DockerPort, dockerId: string, signal?: AbortSignal): Promise<string | undefined> {
  const info = await docker.info({ signal });
  const query = ["snapshots", "--snapshotter", info.Driver, "mounts", "/mnt", dockerId];
  const words = await containerdQuery(info, query, signal);
  return upperOfMountCommand(words);
}

/** `ctr snapshots mounts` prints `mount -t overlay overlay /mnt -o index=off,…,upperdir=…,lowerdir=…`. */
export function upperOfMountCommand(words: string): string | undefined {
  const overlay = /^mount -t overlay \S+ \S+ -o (.*)$/m.exec(words.trim())?.[1];
  if (overlay !== undefined) return upperOf(overlay.split(","));
  // An image without layers: the snapshot is one directory.
  return /^mount -t bind (\S+) /m.exec(words.trim())?.[1];
}

function upperOf(options: readonly string[]): string | undefined {
  return options.find((option) => option.startsWith("upperdir="))?.slice("upperdir=".length);
}

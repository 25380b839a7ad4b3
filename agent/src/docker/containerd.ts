/** containerd's own client, for the few things about Docker's containerd image store that Docker does not tell. */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runCommand } from "../host/run-command.ts";
import { hasSecurityOption } from "./security-options.ts";
import type { DockerInfo } from "./types.ts";

/** containerd as a service of the host, and as a child of dockerd. */
const SOCKETS = ["/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"];

/**
 * The namespace in which a dockerd with the containerd store keeps its things. Where it maps user ids, it has one, and
 * a root directory, for each mapping: `moby-165536.165536` and `/var/lib/docker/165536.165536`.
 */
export function containerdNamespace(info: Pick<DockerInfo, "DockerRootDir" | "SecurityOptions">): string {
  return hasSecurityOption(info, "userns") ? `moby-${basename(info.DockerRootDir)}` : "moby";
}

async function socketPath(): Promise<string> {
  for (const path of SOCKETS) {
    if ((await stat(path).catch(() => undefined))?.isSocket() === true) return path;
  }
  throw new DrayError("DOCKER_UNAVAILABLE", `containerd has no socket at ${SOCKETS.join(" or ")}`, {
    remedy: "Start containerd: `systemctl start containerd`.",
  });
}

/** Output of `ctr` in the namespace of the Docker that `info` tells of. */
export async function containerdQuery(
  info: Pick<DockerInfo, "DockerRootDir" | "SecurityOptions">,
  argv: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  const where = ["--address", await socketPath(), "--namespace", containerdNamespace(info)];
  return (await runCommand(["ctr", ...where, ...argv], { signal })).stdout;
}

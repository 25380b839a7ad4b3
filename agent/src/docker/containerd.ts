/** containerd's own client, for the few things about Docker's containerd image store that Docker does not tell. */
import { stat } from "node:fs/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { runCommand } from "../host/run-command.ts";

/** containerd as a service of the host, and as a child of dockerd. */
const SOCKETS = ["/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"];
/** The namespace in which dockerd keeps its things. */
const NAMESPACE = "moby";

async function socketPath(): Promise<string> {
  for (const path of SOCKETS) {
    if ((await stat(path).catch(() => undefined))?.isSocket() === true) return path;
  }
  throw new DrayError("DOCKER_UNAVAILABLE", `containerd has no socket at ${SOCKETS.join(" or ")}`, {
    remedy: "Start containerd: `systemctl start containerd`.",
  });
}

/** Output of `ctr` in Docker's namespace. */
export async function containerdQuery(argv: readonly string[], signal?: AbortSignal): Promise<string> {
  const address = await socketPath();
  const result = await runCommand(["ctr", "--address", address, "--namespace", NAMESPACE, ...argv], { signal });
  return result.stdout;
}

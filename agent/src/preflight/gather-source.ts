/** Collects what the checks of a source look at. Reads only. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { ContainerInspect, NetworkInspect } from "../docker/types.ts";
import { resolveWatches } from "../host/file-watches.ts";
import { mountsOf, type Mount } from "../host/mountinfo.ts";
import { runInNetworkNamespace } from "../host/netns.ts";
import { resolveInRoot } from "../host/resolve-in-root.ts";
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { withInode } from "../shared-storage/directory-inode.ts";
import { remotelyLocked } from "../shared-storage/remote-locks.ts";
import { sharedFilesOf, sharedMounts } from "../shared-storage/shared-files.ts";
import { type DescribedMount, storageOf } from "../shared-storage/storage.ts";
import { establishedConnections } from "./bridge-connections.ts";
import { foreignProcessObjection } from "./foreign-process-probe.ts";
import { dockerMountPoints } from "./docker-mount-points.ts";
import { networkNamespaceOf } from "./gather-network-namespace.ts";
import { NOTHING_SET_UP } from "./network-namespace.ts";
import { pipeFacts } from "./pipe-facts.ts";
import { processesOf } from "./process-facts.ts";
import { parseMptcpSockets, parseUnixSockets } from "./socket-tables.ts";
import type { SourceFacts } from "./source-facts.ts";

export async function gatherSource(
  docker: DockerPort,
  inspect: ContainerInspect,
  host: HostFacts,
  runDirectory: string,
  signal?: AbortSignal,
): Promise<SourceFacts> {
  const pid = inspect.State.Pid;
  const running = inspect.State.Running && pid > 0;
  const [info, networks, execs, hostMounts, pipes] = await Promise.all([
    docker.info({ signal }),
    networksOf(docker, inspect, signal),
    running ? docker.runningExecs(inspect.Id, { signal }) : [],
    mountsOf("self"),
    pipeFacts(),
  ]);
  const ofProcesses = running ? await gatherProcesses(pid, inspect, runDirectory, signal) : NOTHING_RUNS;
  const mounts = await describeMounts(inspect, hostMounts, signal);
  return { inspect, info, host, networks, execs, pipes, mounts, ...ofProcesses };
}

type OfProcesses = Pick<
  SourceFacts,
  | "mountTable"
  | "mountPointsOfDocker"
  | "processes"
  | "foreignObjection"
  | "unresolvedWatches"
  | "remotelyLocked"
  | "unixSockets"
  | "mptcpSockets"
  | "establishedConnections"
  | "networkNamespace"
>;

const NOTHING_RUNS: OfProcesses = {
  mountTable: [],
  mountPointsOfDocker: [],
  processes: [],
  foreignObjection: "",
  unresolvedWatches: [],
  remotelyLocked: [],
  unixSockets: [],
  mptcpSockets: [],
  establishedConnections: 0,
  networkNamespace: NOTHING_SET_UP,
};

async function gatherProcesses(
  pid: number,
  inspect: ContainerInspect,
  runDirectory: string,
  signal: AbortSignal | undefined,
): Promise<OfProcesses> {
  try {
    // What shares namespaces with the host is refused; its processes and sockets are not the container's alone.
    const ownPids = inspect.HostConfig.PidMode === "" || inspect.HostConfig.PidMode === undefined;
    const networkMode = String(inspect.HostConfig.NetworkMode ?? "");
    const ownNetwork = networkMode !== "host";
    const networkAlone = ownNetwork && !networkMode.startsWith("container:");
    const sockets = async (option: string): Promise<string> =>
      ownNetwork ? (await runInNetworkNamespace(pid, ["ss", "-H", "-a", "-n", option], { signal })).stdout : "";
    const [mountTable, mountPointsOfDocker, established, networkNamespace] = await Promise.all([
      mountsOf(pid),
      Promise.all(dockerMountPoints(inspect).map((path) => resolveInRoot(`/proc/${pid}/root`, path))),
      establishedConnections(pid),
      networkAlone ? networkNamespaceOf(pid, signal) : NOTHING_SET_UP,
    ]);
    // Sockets before their holders: one that is closed in between has no holder, and is none of anybody's.
    const unixSockets = parseUnixSockets(await sockets("-x"));
    const processes = ownPids ? await processesOf(pid, signal) : [];
    const sharedFiles = ownPids ? await sharedFilesOf(pid, sharedMounts(mountTable), signal) : [];
    const watches = processes.flatMap((each) => each.watches);
    return {
      mountTable,
      mountPointsOfDocker,
      unresolvedWatches: (await resolveWatches(pid, watches, mountTable, signal)).unresolved,
      remotelyLocked: await remotelyLocked(sharedFiles, signal),
      unixSockets,
      processes,
      foreignObjection: processes.some(({ foreign }) => foreign)
        ? await foreignProcessObjection(runDirectory, signal)
        : "",
      mptcpSockets: parseMptcpSockets(await sockets("-M")),
      establishedConnections: established,
      networkNamespace,
    };
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code !== "ENOENT" && code !== "ESRCH") throw thrown;
    throw new DrayError("NOT_FOUND", `the container ${inspect.Name.slice(1)} ended while it was looked at`, {
      cause: thrown,
    });
  }
}

/** Docker's networks to which the container is attached. */
async function networksOf(
  docker: DockerPort,
  inspect: ContainerInspect,
  signal: AbortSignal | undefined,
): Promise<NetworkInspect[]> {
  const endpoints = Object.entries(inspect.NetworkSettings.Networks);
  return Promise.all(endpoints.map(([name, { NetworkID }]) => docker.inspectNetwork(NetworkID || name, { signal })));
}

function describeMounts(
  inspect: ContainerInspect,
  hostMounts: readonly Mount[],
  signal: AbortSignal | undefined,
): Promise<DescribedMount[]> {
  return Promise.all(
    (inspect.Mounts ?? []).map(async (mount) => {
      if (mount.Type === "tmpfs" || !mount.Source) return mount;
      const storage = storageOf(mount.Source, hostMounts);
      return storage === undefined ? mount : { ...mount, Storage: await withInode(storage, mount.Source, signal) };
    }),
  );
}

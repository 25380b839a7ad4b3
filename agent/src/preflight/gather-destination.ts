/** Collects what the checks of a destination look at. Changes nothing but the neighbour table, and that back. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { HostFacts, type SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { parseDescription } from "../docker/carry-configuration.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { NetworkInspect } from "../docker/types.ts";
import { diskOf } from "../host/disk.ts";
import { type Mount, mountsOf } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import type { HostState } from "../host-facts/host-facts.ts";
import { endpointsOf, type Endpoint } from "../migration/endpoints.ts";
import { withInode } from "../shared-storage/directory-inode.ts";
import { type DescribedMount, directoryOfVolume, type Storage, storageOf } from "../shared-storage/storage.ts";
import { type AddressAnswer, whoHas } from "./address-probe.ts";
import type { DestinationFacts } from "./destination-facts.ts";
import { pipeFacts } from "./pipe-facts.ts";
import { parseListeningPorts } from "./socket-tables.ts";
import { missingSysctls } from "./sysctl-facts.ts";

export async function gatherDestination(
  docker: DockerPort,
  description: SourceDescription,
  sourceNode: string,
  host: HostState,
  imagePresent: boolean,
  signal?: AbortSignal,
): Promise<Omit<DestinationFacts, "cpu" | "transit">> {
  const { inspect, networks: sourceNetworks } = parseDescription(description);
  const sourceMounts: readonly DescribedMount[] = inspect.Mounts ?? [];
  const [info, networks, containers, listening, pipes, lacking] = await Promise.all([
    docker.info({ signal }),
    networksWithContainers(docker, sourceNetworks, signal),
    docker.listContainers({ signal }),
    runCommand(["ss", "-H", "-l", "-n", "-t", "-u"], { signal }),
    pipeFacts(),
    missingSysctls(inspect),
  ]);
  const [dockerDisk, storage, asked] = await Promise.all([
    diskOf(info.DockerRootDir),
    storageHere(docker, sourceMounts, signal),
    askForAddresses(endpointsOf(inspect, networks), signal),
  ]);
  return {
    description,
    sourceNode,
    inspect,
    sourceNetworks,
    sourceMounts,
    sourceHost: description.host ?? HostFacts.fromPartial({}),
    info,
    host: host.facts,
    networks,
    containers,
    listening: parseListeningPorts(listening.stdout),
    imagePresent,
    memoryAvailableBytes: host.memoryAvailableBytes,
    dockerDisk,
    storage,
    pipes,
    missingSysctls: lacking,
    ...asked,
  };
}

/** This host's networks; those that matter with what is attached to them. */
async function networksWithContainers(
  docker: DockerPort,
  sourceNetworks: readonly NetworkInspect[],
  signal: AbortSignal | undefined,
): Promise<NetworkInspect[]> {
  const names = new Set(sourceNetworks.map(({ Name }) => Name));
  const networks = await docker.listNetworks({ signal });
  return Promise.all(
    networks.map((network) => (names.has(network.Name) ? docker.inspectNetwork(network.Id, { signal }) : network)),
  );
}

/** A volume counts by its name, a bind by its path. */
async function storageHere(
  docker: DockerPort,
  mounts: readonly DescribedMount[],
  signal: AbortSignal | undefined,
): Promise<(Storage | undefined)[]> {
  const hostMounts = await mountsOf("self");
  return Promise.all(
    mounts.map(async (mount) => {
      if (mount.Type === "tmpfs") return undefined;
      const directory =
        mount.Type === "volume" ? await directoryOf(docker, mount.Name ?? "", hostMounts, signal) : mount.Source;
      const storage = directory === undefined ? undefined : storageOf(directory, hostMounts);
      return directory === undefined || storage === undefined ? undefined : withInode(storage, directory, signal);
    }),
  );
}

/** Of a volume; undefined if it does not exist. */
async function directoryOf(
  docker: DockerPort,
  volume: string,
  hostMounts: readonly Mount[],
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return directoryOfVolume(await docker.inspectVolume(volume, { signal }), hostMounts);
  } catch (thrown) {
    if (thrown instanceof DrayError && thrown.reason === "NOT_FOUND") return undefined;
    throw thrown;
  }
}

/** Asks on the parents of the networks that reach beyond this host. */
async function askForAddresses(
  endpoints: readonly Endpoint[],
  signal: AbortSignal | undefined,
): Promise<Pick<DestinationFacts, "answers" | "unasked">> {
  const answers: AddressAnswer[] = [];
  const unasked: { address: string; why: string }[] = [];
  await Promise.all(
    endpoints
      .filter(({ driver }) => driver !== "bridge" && driver !== "")
      .flatMap((endpoint) =>
        [endpoint.ipv4, endpoint.ipv6].filter(Boolean).map((address) => ({ ...endpoint, address })),
      )
      .map(async ({ address, driver, parent, network }) => {
        if (parent === "") {
          unasked.push({ address, why: `the network ${network} (${driver}) has no interface here to ask on` });
          return;
        }
        try {
          answers.push(...(await whoHas(address, parent, signal)));
        } catch (thrown) {
          if (!(thrown instanceof DrayError && thrown.reason === "COMMAND_FAILED")) throw thrown;
          unasked.push({ address, why: thrown.message });
        }
      }),
  );
  return { answers, unasked };
}

/**
 * Looks, before anything is touched, whether a container can move: facts are gathered, then checked by lists of pure
 * checks. The source says what stands against leaving, the destination what stands against coming.
 */
import type { AgentConfig } from "@drayage/shared/config/agent.ts";
import { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { carryConfiguration } from "../docker/carry-configuration.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import { cgroupOfPid } from "../host/cgroup.ts";
import { dumpBytesLimit, memoriesOf, sharedBytesOn } from "../host/dump-bytes-limit.ts";
import { mountsOf } from "../host/mountinfo.ts";
import type { HostFactsSource } from "../host-facts/host-facts.ts";
import type { Identities } from "../identities/identities.ts";
import { findImage, imageIdentity } from "../image/image-transfer.ts";
import { destinationDemand, findTransitRoom, transitOptionsOf } from "../migration/transit-directory.ts";
import { ownTmpfs, usedBytes } from "../tmpfs/tmpfs-usage.ts";
import { type Check, runChecks } from "./check.ts";
import { CONTAINER_FEATURE_CHECKS } from "./checks/container-features.ts";
import { AGREEMENT_CHECKS, HOST_CHECKS, SOURCE_RUNTIME_CHECKS } from "./checks/kernel-and-criu.ts";
import { DESTINATION_MOUNT_CHECKS, SOURCE_MOUNT_CHECKS } from "./checks/mounts.ts";
import { NETWORK_NAMESPACE_CHECKS } from "./checks/network-namespace.ts";
import { DESTINATION_NETWORK_CHECKS, SOURCE_NETWORK_CHECKS } from "./checks/network.ts";
import { PROCESS_CHECKS } from "./checks/processes.ts";
import { RESOURCE_CHECKS } from "./checks/resources.ts";
import { cpuImage, cpuVerdict } from "./cpu-facts.ts";
import type { DestinationFacts } from "./destination-facts.ts";
import { acceptFlags, type Finding } from "./finding.ts";
import { gatherDestination } from "./gather-destination.ts";
import { gatherSource } from "./gather-source.ts";
import type { SourceFacts } from "./source-facts.ts";

export { refuses } from "./finding.ts";

export interface PreflightContext {
  readonly config: Pick<AgentConfig, "runDirectory" | "stateDirectory" | "imageTmpfsLimitBytes">;
  readonly docker: DockerPort;
  readonly hostFacts: HostFactsSource;
  readonly identities: Identities;
  /** Name of this node. */
  readonly node: string;
  readonly signal?: AbortSignal | undefined;
}

export const SOURCE_CHECKS: readonly Check<SourceFacts>[] = [
  ...HOST_CHECKS,
  ...SOURCE_RUNTIME_CHECKS,
  ...CONTAINER_FEATURE_CHECKS,
  ...SOURCE_MOUNT_CHECKS,
  ...SOURCE_NETWORK_CHECKS,
  ...NETWORK_NAMESPACE_CHECKS,
  ...PROCESS_CHECKS,
];

export const DESTINATION_CHECKS: readonly Check<DestinationFacts>[] = [
  ...HOST_CHECKS,
  ...AGREEMENT_CHECKS,
  ...DESTINATION_MOUNT_CHECKS,
  ...DESTINATION_NETWORK_CHECKS,
  ...RESOURCE_CHECKS,
];

/** Findings that `allowFlags` accept come back as notes. Touches nothing. Throws NOT_FOUND. */
export async function inspectSource(
  context: PreflightContext,
  dockerId: string,
  allowFlags: readonly string[],
): Promise<{ description: SourceDescription; findings: Finding[] }> {
  const { docker, signal } = context;
  const inspect = await docker.inspectContainer(dockerId, { signal, size: true });
  const [host, image, { Size }, uuid, memory] = await Promise.all([
    context.hostFacts.current({ signal, refresh: true }),
    imageIdentity(docker, inspect.Image, signal),
    docker.inspectImage(inspect.Image, { signal }),
    context.identities.identityOf(inspect.Id),
    memoryOf(inspect.State.Pid),
  ]);
  const [facts, cpuinfoImage] = await Promise.all([
    gatherSource(docker, inspect, host.facts, context.config.runDirectory, signal),
    cpuImage(context.config.runDirectory, host.facts, signal),
  ]);
  const carried = carryConfiguration(inspect, { image: inspect.Image, networks: facts.networks });
  return {
    description: SourceDescription.fromPartial({
      uuid,
      dockerId: inspect.Id,
      name: inspect.Name.slice(1),
      inspectJson: JSON.stringify({ ...inspect, Mounts: facts.mounts }),
      imageDigest: image.configDigest,
      imageDiffIds: [...image.diffIds],
      imageTags: [...image.tags],
      ...memory,
      layerBytes: inspect.SizeRw ?? 0,
      imageBytes: Size,
      networksJson: JSON.stringify(facts.networks),
      host: host.facts,
      cpuinfoImage,
    }),
    findings: concluded([...runChecks(SOURCE_CHECKS, facts), ...carried.findings], context.node, allowFlags),
  };
}

/** What a container takes of memory, by its first process; 0 if it does not run. */
async function memoryOf(initPid: number): Promise<Pick<SourceDescription, "memoryBytes" | "tmpfsBytes">> {
  if (initPid === 0) return { memoryBytes: 0, tmpfsBytes: 0 };
  const memories = await memoriesOf(await cgroupOfPid(initPid));
  const tmpfs = ownTmpfs(await mountsOf(initPid), await mountsOf("self"));
  // Files there that processes have mapped are counted as their memory already.
  const mappedBytes = sharedBytesOn(memories, new Set(tmpfs.keys()));
  const tmpfsBytes = Math.max(0, (await usedBytes(initPid, tmpfs.values())) - mappedBytes);
  return { memoryBytes: dumpBytesLimit(memories), tmpfsBytes };
}

/** Findings that `allowFlags` accept come back as notes. Touches nothing. */
export async function checkDestination(
  context: PreflightContext,
  description: SourceDescription,
  sourceNode: string,
  allowFlags: readonly string[],
): Promise<{ findings: Finding[]; imagePresent: boolean }> {
  const { docker, signal } = context;
  const identity = {
    configDigest: description.imageDigest,
    diffIds: description.imageDiffIds,
    tags: description.imageTags,
  };
  const [host, imageId] = await Promise.all([
    context.hostFacts.current({ signal, refresh: true }),
    findImage(docker, identity, signal),
  ]);
  const imagePresent = imageId !== undefined;
  const [gathered, cpu, transit] = await Promise.all([
    gatherDestination(docker, description, sourceNode, host, imagePresent, signal),
    cpuVerdict(context.config.runDirectory, host.facts, description.cpuinfoImage, signal),
    findTransitRoom(transitOptionsOf(context.config), destinationDemand(description)),
  ]);
  const facts = { ...gathered, cpu, transit };
  return { findings: concluded(runChecks(DESTINATION_CHECKS, facts), context.node, allowFlags), imagePresent };
}

function concluded(findings: readonly Finding[], node: string, allowFlags: readonly string[]): Finding[] {
  return acceptFlags(findings, allowFlags).map((finding) => ({ ...finding, node }));
}

/**
 * The destination container. It is created under a name that says which
 * migration it belongs to, so that it is found again after a crash between
 * Docker's answer and the journal; after that it gets its own name.
 */
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { carryDescription, parseDescription } from "../docker/carry-configuration.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { findImage, type ImageIdentity } from "../image/image-transfer.ts";
import type { AgentHost } from "./agent-host.ts";

function provisionalName(migrationId: string): string {
  return `drayage-incoming-${migrationId}`;
}

/** Creates the container under its provisional name, or finds the one that was; resolves with its Docker id. */
export async function createCopy(
  host: AgentHost,
  description: SourceDescription,
  migrationId: string,
  image: ImageIdentity,
): Promise<string> {
  const { docker } = host;
  const reference = await findImage(docker, image);
  if (reference === undefined)
    throw new DrayError("NOT_FOUND", `image ${image.configDigest} is not on ${host.node}`, { node: host.node });
  const present = await findCopy(docker, migrationId);
  if (present !== undefined) return present;
  const { inspect } = parseDescription(description);
  // By the name that the user gave if it means the same image here, so that `docker ps` shows it.
  const preferred = await preferredReference(docker, inspect, reference);
  const { request } = carryDescription(description, { image: preferred, name: provisionalName(migrationId) });
  return (await docker.createContainer(request)).id;
}

/** The container that an earlier `createCopy` of this migration made, while it has its provisional name. */
export async function findCopy(docker: DockerPort, migrationId: string): Promise<string | undefined> {
  const name = provisionalName(migrationId);
  const found = await docker.listContainers({ filters: { name: [name] } });
  return found.find(({ Names }) => Names.includes(`/${name}`))?.Id;
}

async function preferredReference(docker: DockerPort, source: ContainerInspect, reference: string): Promise<string> {
  const named = source.Config["Image"];
  if (typeof named !== "string" || named === "") return reference;
  try {
    return (await docker.inspectImage(named)).Id === (await docker.inspectImage(reference)).Id ? named : reference;
  } catch (thrown) {
    if (thrown instanceof DrayError && thrown.reason === "NOT_FOUND") return reference;
    throw thrown;
  }
}

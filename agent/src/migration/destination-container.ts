/**
 * The destination container. It is created under a name that says which
 * migration it belongs to, so that it is found again after a crash between
 * Docker's answer and the journal; after that it gets its own name.
 */
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { carryDescription, parseDescription } from "../docker/carry-configuration.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import { STARTS_WITH_DOCKER } from "../docker/restart-policy.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { findImage, type ImageIdentity } from "../image/image-transfer.ts";
import type { AgentHost } from "./agent-host.ts";
import type { DestinationContext } from "./destination-record.ts";
import { type Endpoint, endpointsOf } from "./endpoints.ts";

export class DestinationContainer {
  readonly #context: DestinationContext;
  readonly #description: SourceDescription;
  readonly #creating = new Serial();

  constructor(context: DestinationContext) {
    this.#context = context;
    this.#description = SourceDescription.fromJSON(JSON.parse(context.record.entry.descriptionJson));
  }

  get image(): ImageIdentity {
    const { imageDigest, imageDiffIds, imageTags } = this.#description;
    return { configDigest: imageDigest, diffIds: imageDiffIds, tags: imageTags };
  }

  /** Creates it, unless it is there, and names it. One after the other: a Reserve that is repeated may meet the image that arrives. */
  ensure(): Promise<void> {
    return this.#creating.run(() => this.#create());
  }

  /** Its Docker id, also if an earlier process of the agent died between Docker's answer and the journal; "" if there is none. */
  async find(): Promise<string> {
    const { host, record } = this.#context;
    return record.entry.dockerId || (await findCopy(host.docker, record.entry.migrationId)) || "";
  }

  async endpoints(): Promise<Endpoint[]> {
    const { docker } = this.#context.host;
    return endpointsOf(await docker.inspectContainer(this.#context.record.entry.dockerId), await docker.listNetworks());
  }

  /** Sets the policy that the source had. False if somebody has removed the container: then there is nothing to set. */
  async setRestartPolicy(): Promise<boolean> {
    const { dockerId, restartPolicy } = this.#context.record.entry;
    try {
      await this.#context.host.docker.updateRestartPolicy(dockerId, restartPolicy);
      return true;
    } catch (thrown) {
      if (toDrayError(thrown).reason === "NOT_FOUND") return false;
      throw thrown;
    }
  }

  /** While its policy was off, what Docker would have done at the container's end, or at its own start, was left undone. */
  async startIfItDied(): Promise<void> {
    const { docker } = this.#context.host;
    const { logger } = this.#context.phases;
    const { dockerId, containerName, restartPolicy } = this.#context.record.entry;
    if (!STARTS_WITH_DOCKER.has(restartPolicy.Name)) return;
    const { State } = await docker.inspectContainer(dockerId);
    if (State.Status !== "exited") return;
    logger.warn({ container: containerName }, "the container ended while its restart policy was off: starting it");
    await docker.startContainer(dockerId).catch((thrown: unknown) => {
      logger.error({ err: toDrayError(thrown) }, "the container could not be started");
    });
  }

  async #create(): Promise<void> {
    const { host, record } = this.#context;
    if (record.entry.dockerId !== "") return this.#giveName();
    const dockerId = await createCopy(host, this.#description, record.entry.migrationId, this.image);
    await host.bars.set(dockerId, record.entry.migrationId);
    await host.identities.adopt(dockerId, record.entry.uuid);
    await faultPoint("destination.before-journal-created");
    await record.transition(record.entry.state, { dockerId });
    await faultPoint("destination.after-journal-created");
    // Only now: until the journal knows it, it is found by its provisional name.
    await this.#giveName();
  }

  async #giveName(): Promise<void> {
    const { docker } = this.#context.host;
    const { dockerId } = this.#context.record.entry;
    const { name } = this.#description;
    const { Name } = await docker.inspectContainer(dockerId);
    if (Name !== `/${name}`) await docker.renameContainer(dockerId, name);
  }
}

function provisionalName(migrationId: string): string {
  return `drayage-incoming-${migrationId}`;
}

/** Creates the container under its provisional name, or finds the one that was; resolves with its Docker id. */
async function createCopy(
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
async function findCopy(docker: DockerPort, migrationId: string): Promise<string | undefined> {
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

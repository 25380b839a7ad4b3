/** An image's way to another host: is it there, send it, take it in and prove that it is the same. */
import type { Readable } from "node:stream";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { DockerInfo, ImageInspect } from "../docker/types.ts";
import { configDigest, type ImageIdentity, sameLayers, usesContainerdStore } from "./image-identity.ts";

export { type ImageIdentity, imageIdentity } from "./image-identity.ts";

/** The id by which this host's Docker knows the image (give it to carryConfiguration), or undefined if it is absent. */
export async function findImage(
  docker: DockerPort,
  identity: ImageIdentity,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const info = await docker.info({ signal });
  if (!usesContainerdStore(info)) {
    const inspect = await inspectIfThere(docker, identity.configDigest, signal);
    return inspect !== undefined && sameLayers(inspect.RootFS.Layers ?? [], identity.diffIds) ? inspect.Id : undefined;
  }
  for (const { Id } of await docker.listImages({ signal })) {
    const inspect = await inspectIfThere(docker, Id, signal);
    if (inspect !== undefined && (await isImage(inspect, info, identity, signal))) return inspect.Id;
  }
  return undefined;
}

/** A stream for importImage on the other host. Throws NOT_FOUND. */
export function exportImage(docker: DockerPort, reference: string, signal?: AbortSignal): Promise<Readable> {
  return docker.saveImages([reference], { signal });
}

/**
 * Loads, verifies that the image is the one that was asked for, and gives it the tags that are free here; a tag that
 * this host has on another image stays there.
 *
 * @returns the local id
 * @throws CORRUPT_STREAM if another image came
 */
export async function importImage(
  docker: DockerPort,
  stream: Readable,
  identity: ImageIdentity,
  signal?: AbortSignal,
): Promise<string> {
  const words = await docker.loadImages(stream, { signal });
  const id = await findImage(docker, identity, signal);
  if (id === undefined) {
    throw new DrayError("CORRUPT_STREAM", `the image that came is not ${identity.configDigest} (Docker: ${words})`);
  }
  for (const tag of identity.tags) {
    const { repository, name } = splitTag(tag);
    if ((await inspectIfThere(docker, tag, signal)) === undefined)
      await docker.tagImage(id, repository, name, { signal });
  }
  return id;
}

async function isImage(
  inspect: ImageInspect,
  info: DockerInfo,
  identity: ImageIdentity,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!sameLayers(inspect.RootFS.Layers ?? [], identity.diffIds)) return false;
  return (await configDigest(inspect, info, signal)) === identity.configDigest;
}

async function inspectIfThere(
  docker: DockerPort,
  reference: string,
  signal: AbortSignal | undefined,
): Promise<ImageInspect | undefined> {
  try {
    return await docker.inspectImage(reference, { signal });
  } catch (thrown) {
    if (thrown instanceof DrayError && thrown.reason === "NOT_FOUND") return undefined;
    throw thrown;
  }
}

/** "registry:5000/team/app:1.2" → the part before the last colon, and the tag. */
export function splitTag(tag: string): { readonly repository: string; readonly name: string } {
  const colon = tag.lastIndexOf(":");
  if (colon === -1 || tag.indexOf("/", colon) !== -1) return { repository: tag, name: "latest" };
  return { repository: tag.slice(0, colon), name: tag.slice(colon + 1) };
}

/** The name if it means this image here, so that `docker ps` goes on showing it; else the id. */
export async function imageReference(
  docker: DockerPort,
  id: string,
  name: string,
  signal?: AbortSignal,
): Promise<string> {
  const named = await inspectIfThere(docker, name, signal);
  return named?.Id === id ? name : id;
}

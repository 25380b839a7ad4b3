/**
 * An image by its content. Docker's own image id differs between its two stores: the config digest with graph
 * drivers, the digest of a manifest or of an index of manifests with the containerd store.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";
import { containerdQuery } from "../docker/containerd.ts";
import type { DockerPort } from "../docker/docker-port.ts";
import type { DockerInfo, ImageInspect } from "../docker/types.ts";

export interface ImageIdentity {
  /** Digest of the image's configuration, "sha256:…"; the same with either image store. */
  readonly configDigest: string;
  /** Uncompressed layer digests, bottom first. */
  readonly diffIds: readonly string[];
  /** Repository tags on this host. */
  readonly tags: readonly string[];
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** An index may point to an index; nobody nests deeper. */
const DEPTH_LIMIT = 4;

const Descriptor = z.object({
  digest: z.string().regex(DIGEST),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).partial().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const ContentBlob = z.object({
  manifests: z.array(Descriptor).optional(),
  config: Descriptor.optional(),
});

/** `reference` is what this host's Docker knows the image by (the container's `Image`). Throws NOT_FOUND. */
export async function imageIdentity(
  docker: DockerPort,
  reference: string,
  signal?: AbortSignal,
): Promise<ImageIdentity> {
  const [inspect, info] = await Promise.all([docker.inspectImage(reference, { signal }), docker.info({ signal })]);
  return {
    configDigest: await configDigest(inspect, info, signal),
    diffIds: inspect.RootFS.Layers ?? [],
    tags: inspect.RepoTags ?? [],
  };
}

/** True if Docker keeps images in containerd. */
export function usesContainerdStore(info: DockerInfo): boolean {
  return (info.DriverStatus ?? []).some(([key, value]) => key === "driver-type" && value.includes("containerd"));
}

/** @returns the config digest of an inspected image */
export async function configDigest(inspect: ImageInspect, info: DockerInfo, signal?: AbortSignal): Promise<string> {
  if (!usesContainerdStore(info)) return inspect.Id;
  return configBehind(inspect.Id, inspect, info, DEPTH_LIMIT, signal);
}

/** Follows an index or a manifest down to the configuration of the image for this platform. */
async function configBehind(
  digest: string,
  inspect: ImageInspect,
  info: DockerInfo,
  depth: number,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (depth === 0 || !DIGEST.test(digest)) {
    throw new DrayError("DOCKER_ERROR", `the content of image ${inspect.Id} cannot be followed`);
  }
  const blob = ContentBlob.parse(JSON.parse(await containerdQuery(info, ["content", "get", digest], signal)));
  if (blob.config !== undefined) return blob.config.digest;
  const fits = (blob.manifests ?? []).filter(
    (manifest) =>
      manifest.annotations?.["vnd.docker.reference.type"] !== "attestation-manifest" &&
      (manifest.platform?.os === undefined || manifest.platform.os === inspect.Os) &&
      (manifest.platform?.architecture === undefined || manifest.platform.architecture === inspect.Architecture),
  );
  for (const manifest of fits) {
    const config = await configBehind(manifest.digest, inspect, info, depth - 1, signal);
    if (await hasLayers(config, inspect.RootFS.Layers ?? [], info, signal)) return config;
  }
  throw new DrayError("DOCKER_ERROR", `the index of image ${inspect.Id} has no manifest for this host`);
}

const ImageConfig = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) });

/** Of several manifests that fit the platform (variants), the one that Docker runs has the layers it tells. */
async function hasLayers(
  configDigest: string,
  diffIds: readonly string[],
  info: DockerInfo,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    const text = await containerdQuery(info, ["content", "get", configDigest], signal);
    return sameLayers(ImageConfig.parse(JSON.parse(text)).rootfs.diff_ids, diffIds);
  } catch (thrown) {
    // The content of other platforms is listed in an index but not pulled.
    if (thrown instanceof DrayError && thrown.reason === "COMMAND_FAILED") return false;
    throw thrown;
  }
}

export function sameLayers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((layer, index) => layer === b[index]);
}

import type { Readable } from "node:stream";
import type { DockerPort } from "../docker/docker-port.ts";

/** An image by its content: the same on every host, whatever Docker calls it there. */
export interface ImageIdentity {
  /** Digest of the image's configuration, "sha256:…"; the same with either image store. */
  readonly configDigest: string;
  /** Uncompressed layer digests, bottom first. */
  readonly diffIds: readonly string[];
  /** Repository tags on this host. */
  readonly tags: readonly string[];
}

/** `reference` is what this host's Docker knows it by (the container's `Image`). */
export declare function imageIdentity(docker: DockerPort, reference: string, signal?: AbortSignal): Promise<ImageIdentity>;

/** The id by which this host's Docker knows the image (give it to carryConfiguration), or undefined if it is absent. */
export declare function findImage(docker: DockerPort, identity: ImageIdentity, signal?: AbortSignal): Promise<string | undefined>;

/** A stream for importImage on the other host. */
export declare function exportImage(docker: DockerPort, reference: string, signal?: AbortSignal): Promise<Readable>;

/** Loads, verifies that the identity is what was asked for, restores the tags; resolves with the local id. */
export declare function importImage(docker: DockerPort, stream: Readable, identity: ImageIdentity, signal?: AbortSignal): Promise<string>;

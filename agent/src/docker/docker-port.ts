/**
 * What the agent asks of Docker Engine.
 *
 * Every call ends by its deadline or its signal, whichever is first. Errors are DrayErrors: NOT_FOUND (Docker says
 * 404), DOCKER_UNAVAILABLE (no connection), TIMEOUT, CANCELLED, DOCKER_ERROR (anything else, with Docker's words).
 */
import type { Readable } from "node:stream";
import type {
  ContainerInspect,
  ContainerSummary,
  CreateRequest,
  DockerEvent,
  DockerInfo,
  DockerVersion,
  ExecInspect,
  ImageInspect,
  JsonObject,
  NetworkInspect,
  RestartPolicy,
  VolumeInspect,
} from "./types.ts";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Each call has a default of its own; starts and streams have none. */
  readonly deadlineMs?: number | undefined;
}

/** Docker's filter map, for example `{ type: ["container"], event: ["start", "die"] }`. */
export type Filters = { readonly [key: string]: readonly string[] };

/** An event, or the word that some may have been missed (the connection was lost and is back): list anew. */
export type DockerNotice = { readonly kind: "event"; readonly event: DockerEvent } | { readonly kind: "resync" };

export interface DockerPort {
  ping(options?: CallOptions): Promise<void>;
  version(options?: CallOptions): Promise<DockerVersion>;
  info(options?: CallOptions): Promise<DockerInfo>;

  inspectContainer(id: string, options?: CallOptions & { readonly size?: boolean }): Promise<ContainerInspect>;
  /** All containers, also those that do not run, unless `runningOnly`. */
  listContainers(
    options?: CallOptions & { readonly runningOnly?: boolean; readonly filters?: Filters },
  ): Promise<readonly ContainerSummary[]>;
  /** Begins with a resync; reconnects for ever until the signal ends it. */
  events(filters: Filters, signal: AbortSignal): AsyncIterable<DockerNotice>;
  createContainer(
    request: CreateRequest,
    options?: CallOptions,
  ): Promise<{ readonly id: string; readonly warnings: readonly string[] }>;
  /** No deadline unless one is given: the runtime may hold a start for as long as a transfer lasts. */
  startContainer(id: string, options?: CallOptions): Promise<void>;
  pauseContainer(id: string, options?: CallOptions): Promise<void>;
  unpauseContainer(id: string, options?: CallOptions): Promise<void>;
  /** `signalName` is SIGKILL by default. */
  killContainer(id: string, options?: CallOptions & { readonly signalName?: string }): Promise<void>;
  stopContainer(id: string, options?: CallOptions & { readonly graceSeconds?: number }): Promise<void>;
  /** Done also if there is no such container any more. */
  removeContainer(
    id: string,
    options?: CallOptions & { readonly force?: boolean; readonly volumes?: boolean },
  ): Promise<void>;
  /** Resolves with the exit code when the container does not run (any more). No deadline unless given. */
  waitContainer(id: string, options?: CallOptions): Promise<number>;
  updateRestartPolicy(id: string, policy: RestartPolicy, options?: CallOptions): Promise<void>;
  renameContainer(id: string, name: string, options?: CallOptions): Promise<void>;
  /** Exec sessions of the container that run now. */
  runningExecs(id: string, options?: CallOptions): Promise<readonly ExecInspect[]>;

  listNetworks(options?: CallOptions): Promise<readonly NetworkInspect[]>;
  inspectNetwork(nameOrId: string, options?: CallOptions): Promise<NetworkInspect>;
  connectNetwork(network: string, container: string, endpoint: JsonObject, options?: CallOptions): Promise<void>;
  disconnectNetwork(
    network: string,
    container: string,
    options?: CallOptions & { readonly force?: boolean },
  ): Promise<void>;

  inspectImage(reference: string, options?: CallOptions): Promise<ImageInspect>;
  /** Ids of all images, dangling ones too. */
  listImages(
    options?: CallOptions,
  ): Promise<readonly { readonly Id: string; readonly RepoTags?: readonly string[] | null }[]>;
  /** A tar as `docker save` gives it. No deadline; ends with the signal. */
  saveImages(references: readonly string[], options?: CallOptions): Promise<Readable>;
  /** Takes what saveImages gave; resolves with Docker's words when all is loaded. */
  loadImages(tar: Readable, options?: CallOptions): Promise<string>;
  tagImage(reference: string, repository: string, tag: string, options?: CallOptions): Promise<void>;
  removeImage(reference: string, options?: CallOptions): Promise<void>;

  inspectVolume(name: string, options?: CallOptions): Promise<VolumeInspect>;
}

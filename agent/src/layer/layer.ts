import type { Readable } from "node:stream";
import type { DockerPort } from "../docker/docker-port.ts";
import type { LayerDifference, LayerManifest, LayerPath, LayerTarget } from "./types.ts";

/** Upper directory of a container's root file system on this host, running or only created, with either store. */
export declare function layerDirectory(docker: DockerPort, dockerId: string, signal?: AbortSignal): Promise<string>;
export declare function scanLayer(directory: string, signal?: AbortSignal): Promise<LayerManifest>;
export declare const EMPTY_MANIFEST: LayerManifest;
export declare function diffLayer(before: LayerManifest, after: LayerManifest, written?: ReadonlySet<LayerPath>): LayerDifference;
/** Layer paths that processes of the container have open or mapped for writing. */
export declare function writtenPaths(initPid: number, signal?: AbortSignal): Promise<ReadonlySet<LayerPath>>;
/** Self-contained stream (removals and tar) for applyLayer. `live`: files may change or vanish while it is read. */
export declare function packLayer(
  directory: string,
  difference: LayerDifference,
  options: { readonly live: boolean; readonly signal?: AbortSignal | undefined },
): Readable;
export declare function applyLayer(target: LayerTarget, stream: Readable, signal?: AbortSignal): Promise<void>;

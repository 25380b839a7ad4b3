/**
 * The writable layer of a container: what it changed of its image.
 *
 *   source: scanLayer ─ diffLayer(EMPTY_MANIFEST, first) ─ packLayer ──► applyLayer :destination
 *           … the container runs on; then, frozen:
 *           scanLayer ─ diffLayer(first, second, writtenPaths) ─ packLayer ──► applyLayer
 *
 * SentTree does that for any tree of files: a tmpfs is one as well. Of files that processes can write to without a trace in the times, SentContents knows what the first pass has sent.
 */
export { applyLayer } from "./apply.ts";
export { diffLayer } from "./difference.ts";
export { layerDirectory } from "./layer-directory.ts";
export { packLayer, type PackOptions } from "./pack.ts";
export { EMPTY_MANIFEST } from "./manifest.ts";
export { scanLayer } from "./scan.ts";
export { SentContents } from "./sent-contents.ts";
export { SentTree } from "./sent-tree.ts";
export type { LayerDifference, LayerEntry, LayerManifest, LayerPath, LayerTarget } from "./types.ts";
export { namespacePids, writtenPaths } from "./written-paths.ts";

/** Paths of a layer: byte strings relative to its root. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { LayerPath } from "./types.ts";

/** The path of the layer's root. */
export const ROOT: LayerPath = "";

/** Where a layer path is on this host. */
export function hostPath(directory: Buffer, path: LayerPath): Buffer {
  return path === ROOT ? directory : Buffer.concat([directory, SLASH, Buffer.from(path, "latin1")]);
}

const SLASH = Buffer.from("/");

/** The directories above a path, outermost first, without the layer's root. */
export function ancestors(path: LayerPath): LayerPath[] {
  const found: LayerPath[] = [];
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) {
    found.push(path.slice(0, slash));
  }
  return found;
}

/**
 * The layer path that a name from a stream means. Throws CORRUPT_STREAM for every name that could lead out of the
 * layer.
 */
export function parseLayerPath(name: string): LayerPath {
  const path = name.replace(/^\.(\/|$)/, "").replace(/\/$/, "");
  if (path === ROOT) return ROOT;
  for (const part of path.split("/")) {
    if (part === "" || part === "." || part === ".." || part.includes("\0")) {
      throw new DrayError("CORRUPT_STREAM", `the layer stream names a path outside of the layer: ${printable(name)}`, {
        remedy:
          "Nothing was written outside of the container. Look at the source node: it may have been tampered with.",
      });
    }
  }
  return path;
}

/** For messages. */
export function printable(path: LayerPath): string {
  return JSON.stringify(Buffer.from(path, "latin1").toString("utf8"));
}

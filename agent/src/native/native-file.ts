/** Where the parts of the agent are that are C. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** Beside the bundle in a package; where agent/native/build puts them in a checkout. */
const PLACES = [import.meta.dirname, join(import.meta.dirname, "../../dist")];

/** Throws INTERNAL if it is not there: the package is broken, or the checkout was not built. */
export function nativeFile(name: "page-memory.node" | "drayage-layer-tar" | "drayage-container-mount"): string {
  const path = PLACES.map((place) => join(place, name)).find(existsSync);
  if (path !== undefined) return path;
  throw new DrayError("INTERNAL", `${name} is missing`, {
    remedy: "Install the package drayage again; in a checkout run agent/native/build.",
  });
}

import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** The root file system of an OCI bundle (runtime-spec, config.md: `root.path`, relative to the bundle), mounted while `create` is held. */
export async function bundleRoot(bundle: string): Promise<string> {
  const config = JSON.parse(await readFile(join(bundle, "config.json"), "utf8")) as { root?: { path?: string } };
  const path = config.root?.path;
  if (path === undefined || path === "") throw new DrayError("INTERNAL", `${bundle}/config.json names no root`);
  return resolve(bundle, path);
}

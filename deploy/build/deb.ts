/** Turns a staged tree into a .deb that is the same, byte for byte, for the same commit. */
import { chmodSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./command.ts";
import type { BuildInputs } from "./inputs.ts";

const MAINTAINER_SCRIPTS = ["postinst", "prerm", "postrm"];

export function packageName(inputs: BuildInputs): string {
  return `drayage_${inputs.version}_${inputs.architecture}.deb`;
}

/** Adds the control files to `tree` and writes the package to `file`. */
export function buildDeb(inputs: BuildInputs, tree: string, file: string): void {
  const source = join(inputs.root, "deploy/deb");
  const control = join(tree, "DEBIAN");
  mkdirSync(control, { recursive: true });
  const fields = readFileSync(join(source, "control"), "utf8")
    .replace("@VERSION@", inputs.version)
    .replace("@ARCHITECTURE@", inputs.architecture)
    .replace("@INSTALLED_SIZE@", String(Math.ceil(treeBytes(tree) / 1024)));
  writeFileSync(join(control, "control"), fields);
  for (const script of MAINTAINER_SCRIPTS) {
    writeFileSync(join(control, script), readFileSync(join(source, script)));
    chmodSync(join(control, script), 0o755);
  }
  normalise(tree, inputs.sourceDateEpoch);
  runTool("dpkg-deb", ["--root-owner-group", "-Zzstd", "-z3", "--build", tree, file], {
    env: { SOURCE_DATE_EPOCH: String(inputs.sourceDateEpoch) },
    remedy: "Install dpkg (`apt-get install dpkg-dev`); packages are built on Debian or its kin.",
  });
}

function treeBytes(directory: string): number {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + lstatSync(join(entry.parentPath, entry.name)).size, 0);
}

/** One time for all, and modes that do not depend on the umask of who builds. */
function normalise(path: string, seconds: number): void {
  const stat = lstatSync(path);
  if (stat.isDirectory()) {
    chmodSync(path, 0o755);
    for (const name of readdirSync(path)) normalise(join(path, name), seconds);
  } else if (stat.isFile()) {
    chmodSync(path, stat.mode & 0o100 ? 0o755 : 0o644);
  }
  lutimesSync(path, seconds, seconds);
}

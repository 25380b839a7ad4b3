/** The product's Debian package: built from the sources, installed in nodes with dpkg. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { run, runRaw } from "../host/run.ts";
import type { Lab } from "../lab/lab.ts";
import { REPOSITORY } from "../lab/layout.ts";
import { runInNode, writeInNode } from "../lab/node-files.ts";
import type { Progress } from "../progress.ts";

const INSTALL_DEADLINE_MS = 120_000;
/** Which package the lab has installed in a node. */
const INSTALLED_FILE = "/etc/lab/package";
const PACKAGE_FILE = "/var/tmp/drayage.deb";

export interface ProductPackage {
  readonly path: string;
  readonly sha256: string;
}

/** Builds the package, which is quick when the sources have not changed, or takes the given one. */
export async function productPackage(
  given: string | undefined,
  progress: Progress,
  signal?: AbortSignal,
): Promise<ProductPackage> {
  const path = given ?? (await build(progress, signal));
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash, signal ? { signal } : {});
  return { path, sha256: hash.digest("hex") };
}

async function build(progress: Progress, signal: AbortSignal | undefined): Promise<string> {
  const output = await run([process.execPath, join(REPOSITORY, "deploy/build/build.ts")], {
    cwd: REPOSITORY,
    signal,
    label: "building the package",
    onStderrLine: (line) => progress.of("package").step(line),
  });
  return output.trim().split("\n").at(-1) ?? "";
}

/** Installs the package in a node, unless the node has this very one. */
export async function installPackage(
  lab: Lab,
  node: string,
  product: ProductPackage,
  progress: Progress,
  signal?: AbortSignal,
): Promise<void> {
  const { stdout } = await runRaw(await lab.driver.command(node, ["cat", INSTALLED_FILE]), { signal });
  if (stdout.trim() === product.sha256) return;
  await writeInNode(lab, node, PACKAGE_FILE, createReadStream(product.path), { signal });
  const install = ["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", PACKAGE_FILE];
  await runInNode(lab, node, install, { signal, deadlineMs: INSTALL_DEADLINE_MS * lab.driver.patience });
  await runInNode(lab, node, ["rm", PACKAGE_FILE], { signal });
  await writeInNode(lab, node, INSTALLED_FILE, `${product.sha256}\n`, { signal });
  progress.of(node).step("package installed");
}

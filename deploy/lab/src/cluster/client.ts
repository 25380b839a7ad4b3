/** What the host needs to talk to a lab's cluster: the package's `dray`, a configuration, the operator's certificate. */
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../errors.ts";
import { run, runRaw } from "../host/run.ts";
import type { Lab } from "../lab/lab.ts";
import { removeTree } from "../rootfs/cache.ts";
import { clientConfig } from "./drayage-config.ts";
import type { ProductPackage } from "./package.ts";
import { deliverOperatorToHost } from "./pki.ts";

export const CLIENT_CONFIG = "client.yaml";
const ASK_DEADLINE_MS = 30_000;

export async function setUpClient(lab: Lab, product: ProductPackage, signal?: AbortSignal): Promise<void> {
  const { clientDirectory, binDirectory, directory } = lab.layout;
  await deliverOperatorToHost(lab, join(clientDirectory, "pki"), signal);
  await writeFile(join(clientDirectory, CLIENT_CONFIG), clientConfig(lab.plan));
  const productDirectory = join(directory, "product");
  await unpackOnHost(product, productDirectory, signal);
  await mkdir(binDirectory, { recursive: true });
  const shim = join(binDirectory, "dray");
  const library = join(productDirectory, "usr/lib/drayage");
  await writeFile(shim, `#!/bin/sh\nexec ${quote(join(library, "node"))} ${quote(join(library, "dray.mjs"))} "$@"\n`);
  await chmod(shim, 0o755);
}

/** Unpacks the package below the lab's directory, unless it is there already; whole or not at all. */
async function unpackOnHost(product: ProductPackage, target: string, signal: AbortSignal | undefined): Promise<void> {
  const mark = join(target, "package");
  const present = await readFile(mark, "utf8").catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  });
  if (present === product.sha256) return;
  const fresh = `${target}.new`;
  await removeTree(fresh);
  await run(["dpkg-deb", "--extract", product.path, fresh], { signal });
  await writeFile(join(fresh, "package"), product.sha256);
  await removeTree(target);
  await rename(fresh, target);
}

/** The nodes that the coordinators call ready, asked with the host's `dray`; none while no coordinator answers. */
export async function readyNodes(lab: Pick<Lab, "layout">, signal?: AbortSignal): Promise<ReadonlySet<string>> {
  const { binDirectory, clientDirectory } = lab.layout;
  const env = { ...process.env, DRAYAGE_CONFIG: join(clientDirectory, CLIENT_CONFIG) };
  const { exitCode, stdout } = await runRaw([join(binDirectory, "dray"), "node", "ls", "--json"], {
    env,
    signal,
    deadlineMs: ASK_DEADLINE_MS,
  });
  if (exitCode !== 0) return new Set();
  const nodes = JSON.parse(stdout) as { readonly name: string; readonly state: string }[];
  return new Set(nodes.filter(({ state }) => state === "ready").map(({ name }) => name));
}

/** Shell text for `eval`: puts `dray` into PATH and points it at this lab. */
export function environmentExports(lab: Pick<Lab, "layout">): string {
  const { binDirectory, clientDirectory, name } = lab.layout;
  return [
    `export PATH=${quote(binDirectory)}:"$PATH"`,
    `export DRAYAGE_CONFIG=${quote(join(clientDirectory, CLIENT_CONFIG))}`,
    `export DRAYAGE_LAB=${quote(name)}`,
    "",
  ].join("\n");
}

export function quote(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

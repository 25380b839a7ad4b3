/** Makes the bundle of a held `create` ready for a restore from these images. */
import { mkdir, readFile, realpath } from "node:fs/promises";
import { unlessGone } from "../host/unless-gone.ts";
import { bundleCgroup } from "./bundle-cgroup.ts";
import { bindSourcesOf, criuRestoreConfig, patchBundleConfig } from "./bundle-config.ts";
import { networkSysctls } from "./bundle-sysctls.ts";
import { writeDurably } from "./record-store.ts";
import { type CreateCommand, restoreCommand } from "./restore-command.ts";
import type { ReleaseOptions } from "./runtime-gate.ts";
import type { Released } from "./session-state.ts";

export interface BundleRestore {
  readonly create: CreateCommand;
  /** Of the process that will restore. */
  readonly claim: string;
  readonly runcPath: string;
  /** Path of a file of this restore. */
  readonly sessionFile: (name: string) => string;
  readonly options: ReleaseOptions;
}

/** Writes the restore's files and changes the bundle's configuration; may be repeated. */
export async function prepareBundle({
  create,
  claim,
  runcPath,
  sessionFile,
  options,
}: BundleRestore): Promise<Released> {
  const { imageDirectory, workDirectory } = options;
  await mkdir(workDirectory, { recursive: true, mode: 0o700 });
  const criuConfigPath = sessionFile("criu.conf");
  await writeDurably(criuConfigPath, criuRestoreConfig(sessionFile("criu-action"), options.criuOptions ?? []));
  const configPath = `${create.bundle}/config.json`;
  const networkHookPath = sessionFile("network-hook");
  const config = await readFile(configPath, "utf8");
  const cgroup = await bundleCgroup(config);
  await writeDurably(sessionFile("network.sysctl"), networkSysctls(config));
  const bindSources = await realPaths(bindSourcesOf(config));
  await writeDurably(configPath, patchBundleConfig(config, { criuConfigPath, networkHookPath, bindSources }));
  const lazyPages = options.lazyPages ?? false;
  const argv = restoreCommand(create, { runcPath, imageDirectory, workDirectory, lazyPages });
  return { bundle: create.bundle, runcRoot: create.runcRoot, imageDirectory, workDirectory, cgroup, claim, argv };
}

/** Those that exist, each with where its symbolic links lead. */
async function realPaths(paths: readonly string[]): Promise<Map<string, string>> {
  const real = new Map<string, string>();
  for (const path of paths) {
    const target = await unlessGone(realpath(path));
    if (target !== undefined) real.set(path, target);
  }
  return real;
}

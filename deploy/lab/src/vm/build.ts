/** Builds what all virtual machines of a suite have in common, once: kernel, first root, disk. */
import { copyFile, mkdir, open, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { LabError } from "../errors.ts";
import { run } from "../host/run.ts";
import type { Progress } from "../progress.ts";
import { buildTree } from "../rootfs/build.ts";
import { cached, exists } from "../rootfs/cache.ts";
import { recipeDigest } from "../rootfs/recipe.ts";
import { type CpioEntry, cpioArchive } from "./cpio.ts";
import type { VmRecipe } from "./recipe.ts";

/** Files below the directory that is built. */
export const BASE_FILES = { kernel: "vmlinuz", initramfs: "initramfs", disk: "disk.raw" } as const;

export function vmCacheKey(recipe: VmRecipe): string {
  return `${recipe.name}-${recipeDigest(recipe).slice(0, 16)}`;
}

/** Gives the directory that has them; nobody may write into it. */
export async function ensureVmBase(recipe: VmRecipe, progress: Progress, signal?: AbortSignal): Promise<string> {
  return cached({
    key: vmCacheKey(recipe),
    progress,
    signal,
    build: async (target, scratch) => {
      progress.step(`building ${recipe.name} from Debian packages (once; a minute or two)`);
      await mkdir(target);
      const root = join(scratch, "root");
      const boot = join(scratch, "boot");
      await buildTree(recipe.root, root, scratch, signal);
      await buildTree(recipe.boot, boot, scratch, signal);
      const version = await moveModules(boot, root, signal);
      await copyFile(await kernelIn(boot, version), join(target, BASE_FILES.kernel));
      const modules = await modulesInOrder(recipe.firstModules, { root, version, scratch }, signal);
      await writeFile(join(target, BASE_FILES.initramfs), await firstRoot(recipe, boot, modules));
      await makeDisk(join(target, BASE_FILES.disk), root, recipe.diskBytes, signal);
      progress.step(`${recipe.name} is built`);
    },
  });
}

/** Packages of Linux 7.2 and later have it beside its modules. */
async function kernelIn(boot: string, version: string): Promise<string> {
  const beside = join(boot, "usr/lib/modules", version, "vmlinuz");
  return (await exists(beside)) ? beside : join(boot, "boot", `vmlinuz-${version}`);
}

/** Puts the kernel's modules into the root; gives the kernel's version. */
async function moveModules(boot: string, root: string, signal: AbortSignal | undefined): Promise<string> {
  for (const directory of ["usr/lib/modules", "lib/modules"]) {
    if (!(await exists(join(boot, directory)))) continue;
    const [version] = await readdir(join(boot, directory));
    if (version === undefined) continue;
    await mkdir(join(root, "usr/lib/modules"), { recursive: true });
    await run(["cp", "-a", join(boot, directory, version), join(root, "usr/lib/modules", version)], { signal });
    await run(["depmod", `--basedir=${root}`, version], { signal });
    return version;
  }
  throw new LabError("failed", "the kernel's package has no modules");
}

async function firstRoot(recipe: VmRecipe, boot: string, modules: readonly Module[]): Promise<Buffer> {
  const entries: CpioEntry[] = [
    { path: "/init", content: recipe.init, mode: 0o755 },
    { path: "/bin/busybox", content: await readFile(await busybox(boot)), mode: 0o755 },
    { path: "/modules/order", content: modules.map(({ name }) => `${name}\n`).join(""), mode: 0o644 },
    ...modules.map(({ name, content }) => ({ path: `/modules/${name}`, content, mode: 0o644 })),
  ];
  return cpioArchive(entries);
}

async function busybox(boot: string): Promise<string> {
  const merged = join(boot, "usr/bin/busybox");
  return (await exists(merged)) ? merged : join(boot, "bin/busybox");
}

interface Module {
  readonly name: string;
  readonly content: Buffer;
}

interface ModulePlaces {
  readonly root: string;
  /** Of the kernel. */
  readonly version: string;
  readonly scratch: string;
}

/** The modules and those that they need, in the order in which they can be loaded, unpacked. */
async function modulesInOrder(
  names: readonly string[],
  { root, version, scratch }: ModulePlaces,
  signal: AbortSignal | undefined,
): Promise<Module[]> {
  const modules = new Map<string, Module>();
  const dependencies = ["modprobe", `--dirname=${root}`, `--set-version=${version}`, "--show-depends", "--all"];
  for (const line of (await run([...dependencies, ...names], { signal })).split("\n")) {
    // What is part of the kernel itself is listed as "builtin".
    const path = /^insmod (\S+)/.exec(line)?.[1];
    if (path === undefined || modules.has(path)) continue;
    const copy = join(scratch, basename(path));
    await copyFile(path, copy);
    if (copy.endsWith(".xz")) await run(["xz", "--decompress", copy], { signal });
    const name = basename(path, ".xz");
    modules.set(path, { name, content: await readFile(join(scratch, name)) });
  }
  return [...modules.values()];
}

/** A file system with the tree in it; the file has holes where nothing is. */
async function makeDisk(path: string, tree: string, bytes: number, signal: AbortSignal | undefined): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.truncate(bytes);
  } finally {
    await file.close();
  }
  const options = ["-q", "-t", "ext4", "-m", "0", "-L", "root", "-E", "lazy_itable_init=1,lazy_journal_init=1"];
  await run(["mke2fs", ...options, "-d", tree, path], { signal });
}

/** Builds a root file system from its recipe with mmdebstrap, once. */
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findMirror } from "../host/mirror.ts";
import { run } from "../host/run.ts";
import type { Progress } from "../progress.ts";
import { cached } from "./cache.ts";
import { aptPreferences, mmdebstrapArgv, type Recipe, recipeDigest } from "./recipe.ts";

export function cacheKey(recipe: Recipe): string {
  return `${recipe.name}-${recipeDigest(recipe).slice(0, 16)}`;
}

/** Gives the directory of the root file system; nobody may write into it. */
export async function ensureRootfs(recipe: Recipe, progress: Progress, signal?: AbortSignal): Promise<string> {
  return cached({
    key: cacheKey(recipe),
    progress,
    signal,
    build: async (target, scratch) => {
      progress.step(`building ${recipe.name} from Debian packages (once; about half a minute)`);
      await buildTree(recipe, target, scratch, signal);
      progress.step(`${recipe.name} is built`);
    },
  });
}

export async function buildTree(recipe: Recipe, target: string, scratch: string, signal?: AbortSignal): Promise<void> {
  const preferences = join(scratch, "drayage-lab");
  await writeFile(preferences, aptPreferences(recipe), { mode: 0o644 });
  await run(mmdebstrapArgv(recipe, await findMirror(), { target, preferences }), {
    signal,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", TMPDIR: scratch },
  });
  for (const path of recipe.removed) await rm(join(target, path), { recursive: true, force: true });
  for (const [path, text] of Object.entries(recipe.files)) {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await writeFile(join(target, path), text);
  }
  for (const [path, linkTarget] of Object.entries(recipe.links)) {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await rm(join(target, path), { force: true });
    await symlink(linkTarget, join(target, path));
  }
}

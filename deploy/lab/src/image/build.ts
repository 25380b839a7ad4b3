/** Builds images once, as tar archives in the cache. */
import { join } from "node:path";
import { run } from "../host/run.ts";
import type { Progress } from "../progress.ts";
import { buildTree, cacheKey } from "../rootfs/build.ts";
import { cached } from "../rootfs/cache.ts";
import { type ImageName, imageRecipe } from "./recipe.ts";

/** Gives the archive of the image's root. */
export async function ensureImage(name: ImageName, progress: Progress, signal?: AbortSignal): Promise<string> {
  const { rootfs } = imageRecipe(name);
  return cached({
    key: `${cacheKey(rootfs)}.tar`,
    progress,
    signal,
    build: async (target, scratch) => {
      progress.step(`building the image ${name} from Debian packages (once)`);
      const tree = join(scratch, "tree");
      await buildTree(rootfs, tree, scratch, signal);
      await run(["tar", "--create", "--numeric-owner", "--xattrs", `--file=${target}`, `--directory=${tree}`, "."], {
        signal,
      });
      progress.step(`the image ${name} is built`);
    },
  });
}

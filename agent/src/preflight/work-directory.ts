/** Directories for what preflight has CRIU write, beside the images in transit: the next agent sweeps what a killed one leaves. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";

/** Runs `body` with an empty directory, root only, that is gone afterwards. */
export async function inWorkDirectory<T>(runDirectory: string, body: (directory: string) => Promise<T>): Promise<T> {
  const images = join(runDirectory, "images");
  await mkdir(images, { recursive: true, mode: 0o700 });
  const directory = await mkdtemp(join(images, "preflight-"));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

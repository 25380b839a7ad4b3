/** What travels on a transfer, in the words that both ends use. */
import { z } from "zod";

export const TRANSFER_KINDS = {
  /** `docker save` of the image; before the first layer. */
  image: "image",
  /** The writable layer while the container runs; applied to the copy that is not started. */
  layer: "layer",
  /** What changed in it since; sent from the freeze, applied to the mounted root. */
  layerRest: "layer-rest",
  /** A tmpfs of the container's while it runs, as a tree of files; metadata has its number, and what its mount is made with. */
  tmpfs: "tmpfs",
  /** What changed in it since; metadata has its number. */
  tmpfsRest: "tmpfs-rest",
  /** Memory while the container runs, a round each: a memory stream, see memory-stream/format.ts; metadata has its number. */
  memoryRound: "memory-round",
  /** The memory that the dump has found, less what the last round has, or of a post-copy some of the images: the same. */
  memory: "memory",
  /** Private memory of the frozen container, as its copy wants it: a memory stream in any order; see post-copy/words.ts. */
  postCopy: "post-copy",
  /** One file of CRIU's that is large, or is sent while CRIU still writes it. */
  criuImage: "criu-image",
  /** Manifest of all of CRIU's files that are not in `memory`, and the small ones themselves; see image-bundle.ts. */
  criuBundle: "criu-bundle",
} as const;

export const TmpfsMetadata = z.object({
  number: z.number().int().nonnegative(),
  source: z.string(),
  options: z.array(z.string()),
});

export const ImageManifest = z.object({
  files: z.array(z.object({ name: z.string(), bytes: z.number().int().nonnegative(), bundled: z.boolean() })),
});
export type ImageManifest = z.infer<typeof ImageManifest>;

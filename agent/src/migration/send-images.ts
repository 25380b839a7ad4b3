/** Sends what CRIU writes: the pages while it writes them, the rest when it is done. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { isPagesImage } from "../criu/image-names.ts";
import { BUNDLED_LIMIT_BYTES, packImages } from "./image-bundle.ts";
import type { Report } from "./joinable-run.ts";
import { type ImageManifest, TRANSFER_KINDS } from "./transfer-kinds.ts";

/**
 * Resolves when everything has been delivered, with the bytes of memory pages: CRIU's statistics leave out those of
 * shared mappings. `dump` settles with CRIU.
 */
export async function sendImages(
  connection: TransferConnection,
  directory: string,
  dump: Promise<unknown>,
  report: Report,
  signal: AbortSignal,
): Promise<number> {
  const onProgress = (doneBytes: number) => report({ step: "send-memory", doneBytes, totalBytes: 0, message: "" });
  // Pages are followed while they grow, however small they stay.
  const isBundled = (name: string, bytes: number) => !isPagesImage(name) && bytes <= BUNDLED_LIMIT_BYTES;
  const leaves = (name: string) => isBundled(name, statSync(join(directory, name)).size);
  const [, manifest] = await Promise.all([
    connection.sendGrowingDirectory(
      { kind: TRANSFER_KINDS.criuImage, directory, done: dump, followed: isPagesImage, leaves },
      { signal, onProgress },
    ),
    dump.then(async () => {
      const manifest = imageManifest(directory, isBundled);
      const content = Readable.from(packImages(directory, manifest), { objectMode: false });
      await connection.send({ kind: TRANSFER_KINDS.criuBundle, name: "bundle" }, content, { signal });
      return manifest;
    }),
  ]);
  const pages = manifest.files.filter(({ name }) => isPagesImage(name));
  return pages.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Of files that have just been written; not asynchronous for the reason that packImages gives. */
function imageManifest(directory: string, isBundled: (name: string, bytes: number) => boolean): ImageManifest {
  const files = readdirSync(directory)
    .sort()
    .map((name) => {
      const { size } = statSync(join(directory, name));
      return { name, bytes: size, bundled: isBundled(name, size) };
    });
  return { files };
}

/** Sends the images that CRIU has written, which are of everything but memory: small ones in one stream. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { BUNDLED_LIMIT_BYTES, packImages } from "./image-bundle.ts";
import { type ImageManifest, TRANSFER_KINDS } from "./transfer-kinds.ts";

/** Resolves when everything has been delivered, to how many bytes that were. The files must not change any more. */
export async function sendImages(
  connection: TransferConnection,
  directory: string,
  signal: AbortSignal,
): Promise<number> {
  const manifest = await imageManifest(directory);
  const content = Readable.from(packImages(directory, manifest), { objectMode: false });
  const large = manifest.files.filter(({ bundled }) => !bundled);
  await Promise.all([
    connection.send({ kind: TRANSFER_KINDS.criuBundle, name: "bundle" }, content, { signal }),
    ...large.map(({ name }) =>
      connection.send({ kind: TRANSFER_KINDS.criuImage, name }, { path: join(directory, name) }, { signal }),
    ),
  ]);
  return manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
}

async function imageManifest(directory: string): Promise<ImageManifest> {
  const names = (await readdir(directory)).sort();
  const files = await Promise.all(
    names.map(async (name) => {
      const { size } = await stat(join(directory, name));
      return { name, bytes: size, bundled: size <= BUNDLED_LIMIT_BYTES };
    }),
  );
  return { files };
}

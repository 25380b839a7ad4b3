/**
 * CRIU's small images in one stream, behind the manifest of all of them: some
 * two dozen files of a few kilobytes, each of which would cost a round trip
 * in the middle of the downtime.
 *
 *   u32 length, little endian │ manifest, JSON │ contents of the files marked `bundled`, in its order
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { isImageName } from "../criu/image-names.ts";
import { ImageManifest } from "./transfer-kinds.ts";

const HEAD_BYTES = 4;
const MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024;
/** Larger images travel on their own, beside the others. */
export const BUNDLED_LIMIT_BYTES = 1024 * 1024;

/**
 * The stream's chunks. The files must not change any more. Read at once: they are small and just written, and each
 * asynchronous call would wait for its turn behind the frames of the pages.
 */
export function* packImages(directory: string, manifest: ImageManifest): Generator<Buffer> {
  const text = Buffer.from(JSON.stringify(manifest));
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(text.length);
  yield Buffer.concat([head, text]);
  for (const { name, bytes, bundled } of manifest.files) {
    if (!bundled) continue;
    const content = readFileSync(join(directory, name));
    if (content.length !== bytes) throw new DrayError("INTERNAL", `image ${name} has changed after the dump`);
    yield content;
  }
}

/** Reads the manifest and gives each bundled file to `store`. Throws CORRUPT_STREAM. */
export async function unpackImages(
  content: AsyncIterable<Buffer>,
  store: (name: string, content: Buffer) => void,
): Promise<ImageManifest> {
  const reader = new ExactReader(content);
  const length = (await reader.take(HEAD_BYTES)).readUInt32LE();
  if (length > MANIFEST_LIMIT_BYTES) throw corrupt("the manifest of the images is absurdly large");
  const manifest = parseManifest((await reader.take(length)).toString("utf8"));
  for (const { name, bytes, bundled } of manifest.files) {
    if (!isImageName(name)) throw corrupt(`"${name}" is no name of a CRIU image`);
    if (!bundled) continue;
    if (bytes > BUNDLED_LIMIT_BYTES) throw corrupt(`image ${name} is too large for the bundle`);
    store(name, await reader.take(bytes));
  }
  await reader.end();
  return manifest;
}

function parseManifest(text: string): ImageManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new DrayError("CORRUPT_STREAM", "the manifest of the images is no JSON", { cause });
  }
  const parsed = ImageManifest.safeParse(json);
  if (!parsed.success) throw corrupt(`the manifest of the images is not valid: ${parsed.error.message}`);
  return parsed.data;
}

/** Takes pieces of known length out of a stream of chunks of any length. */
class ExactReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(content: AsyncIterable<Buffer>) {
    this.chunks = content[Symbol.asyncIterator]();
  }

  async take(bytes: number): Promise<Buffer> {
    const pieces = [this.rest];
    let have = this.rest.length;
    while (have < bytes) {
      const next = await this.chunks.next();
      if (next.done === true) throw corrupt("the bundle of the images ends too early");
      pieces.push(next.value);
      have += next.value.length;
    }
    const all = pieces.length === 1 ? this.rest : Buffer.concat(pieces);
    this.rest = all.subarray(bytes);
    return all.subarray(0, bytes);
  }

  /** The stream's own checks run at its end. */
  async end(): Promise<void> {
    let more = this.rest.length;
    for (let next = await this.chunks.next(); next.done !== true; next = await this.chunks.next())
      more += next.value.length;
    if (more > 0) throw corrupt("the bundle of the images is longer than its manifest says");
  }
}

function corrupt(message: string): DrayError {
  return new DrayError("CORRUPT_STREAM", message);
}

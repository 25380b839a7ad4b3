/**
 * What arrives on the destination: image, layer, CRIU's files, and the
 * manifest that ends them.
 */
import { createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { IncomingFile } from "@drayage/shared/page-stream/transfer-types.ts";
import { CRIU_FILE_NAME, ImageManifest, TRANSFER_KINDS } from "./transfer-kinds.ts";

const MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024;

export interface TransferSink {
  /** Directory of CRIU's files; exists. */
  readonly imageDirectory: string;
  image(content: Readable): Promise<void>;
  layer(content: Readable): Promise<void>;
  layerRest(content: Readable): Promise<void>;
}

export class IncomingTransfer {
  private readonly sink: TransferSink;
  private readonly received = new Map<string, number>();
  private layerRestDone = false;
  private resolveComplete: () => void = () => undefined;
  /** Resolves when the manifest has come and everything in it is here, whole. */
  readonly complete: Promise<void>;

  constructor(sink: TransferSink) {
    this.sink = sink;
    this.complete = new Promise((resolve) => {
      this.resolveComplete = resolve;
    });
  }

  /** Bytes of CRIU's files so far. */
  get imageBytes(): number {
    let sum = 0;
    for (const bytes of this.received.values()) sum += bytes;
    return sum;
  }

  /** Takes one file; content that fails its check rejects before it counts. */
  async receive(file: IncomingFile): Promise<void> {
    switch (file.kind) {
      case TRANSFER_KINDS.image:
        return this.sink.image(file.content);
      case TRANSFER_KINDS.layer:
        return this.sink.layer(file.content);
      case TRANSFER_KINDS.layerRest:
        await this.sink.layerRest(file.content);
        this.layerRestDone = true;
        return;
      case TRANSFER_KINDS.criuImage:
        return this.receiveCriuFile(file);
      case TRANSFER_KINDS.manifest:
        return this.receiveManifest(file);
      default:
        throw new DrayError("CORRUPT_STREAM", `the source sent a file of unknown kind "${file.kind}"`, {
          remedy: "Install the same version of Drayage on both nodes.",
        });
    }
  }

  private async receiveCriuFile(file: IncomingFile): Promise<void> {
    if (!CRIU_FILE_NAME.test(file.name)) {
      throw new DrayError("CORRUPT_STREAM", `"${file.name}" is no name of a CRIU image`);
    }
    const path = join(this.sink.imageDirectory, file.name);
    await pipeline(file.content, createWriteStream(path, { mode: 0o600, highWaterMark: 1024 * 1024 }));
    const { size } = await stat(path);
    this.received.set(file.name, size);
  }

  private async receiveManifest(file: IncomingFile): Promise<void> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of file.content as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MANIFEST_LIMIT_BYTES)
        throw new DrayError("CORRUPT_STREAM", "the manifest of the images is absurdly large");
      chunks.push(chunk);
    }
    const parsed = ImageManifest.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    if (!parsed.success)
      throw new DrayError("CORRUPT_STREAM", `the manifest of the images is not valid: ${parsed.error.message}`);
    for (const { name, bytes: expected } of parsed.data.files) {
      const here = this.received.get(name);
      if (here !== expected) {
        throw new DrayError(
          "CORRUPT_STREAM",
          `image ${name} has ${here ?? "no"} bytes here and ${expected} on the source`,
        );
      }
    }
    if (!this.layerRestDone)
      throw new DrayError("CORRUPT_STREAM", "the manifest came before the rest of the writable layer");
    this.resolveComplete();
  }
}

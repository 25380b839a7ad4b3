/**
 * What arrives on the destination: image, layer, rounds of memory, then CRIU's
 * files with the manifest that says which these are, and beside them the
 * memory of the final dump, which is nearly all of it and comes last; of a
 * copy that fetches its memory, what is large of the rest.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { storeFile } from "@drayage/shared/page-stream/store-file.ts";
import type { IncomingFile } from "@drayage/shared/page-stream/transfer-types.ts";
import { isImageName, isSystemVMemoryImage } from "../criu/image-names.ts";
import type { ImageId } from "../memory-image/page-range.ts";
import { type CarriedTmpfs, isSound } from "../tmpfs/carried-tmpfs.ts";
import { unpackImages } from "./image-bundle.ts";
import { type ReceivedMemory, receiveMemory } from "./receive-memory.ts";
import { type ImageManifest, TmpfsMetadata, TRANSFER_KINDS } from "./transfer-kinds.ts";

/** Of an image without entries. */
const MAGIC_BYTES = 8;

export interface TransferSink {
  /** Directory of CRIU's files; exists. */
  readonly imageDirectory: string;
  /** Directory for a round of memory, empty, with the round before as its parent. */
  roundDirectory(round: number): Promise<string>;
  /** All of the round is in its directory. */
  roundComplete(directory: string): void;
  /**
   * Where the pages of the next image in a directory are to lie, of which so many bytes are there, and so many come at
   * most; null for itself.
   */
  pagesDirectory(directory: string, writtenBytes: number, mostBytes: number | undefined): Promise<string | null>;
  image(content: Readable): Promise<void>;
  layer(content: Readable): Promise<void>;
  layerRest(content: Readable): Promise<void>;
  /** A tmpfs of the container's, mounted like this; numbers begin at 0. */
  tmpfs(number: number, mount: Pick<CarriedTmpfs, "source" | "options">, content: Readable): Promise<void>;
  tmpfsRest(number: number, content: Readable): Promise<void>;
  /** Pages for a copy that runs. */
  postCopy(file: IncomingFile): Promise<void>;
}

export class IncomingTransfer {
  private readonly sink: TransferSink;
  private readonly received = new Map<string, number>();
  private manifest: ImageManifest | undefined;
  private layerRestDone = false;
  /** Of the container's tmpfs, those of which the rest is still to come; as many as were sent before the switch. */
  private readonly tmpfsPending = new Set<number>();
  private tmpfsCount = 0;
  /** Rounds of memory begun. */
  private rounds = 0;
  private memoryBytes = 0;
  /** Undefined if none came. */
  private firstRound: ReceivedMemory | undefined;
  private memoryDone = false;
  private inRounds: readonly ImageId[] = [];
  private readonly completeNow = Promise.withResolvers<void>();
  private readonly restorableNow = Promise.withResolvers<void>();

  constructor(sink: TransferSink) {
    this.sink = sink;
  }

  /** Resolves when the manifest has come and everything in it is here, whole. */
  get complete(): Promise<void> {
    return this.completeNow.promise;
  }

  /** Resolves when a restore can begin and wait for what is still missing: pages of memory. */
  get restorable(): Promise<void> {
    return this.restorableNow.promise;
  }

  /** Images of the final dump, when it is complete, that rounds have part of. */
  get imagesInRounds(): readonly ImageId[] {
    return this.inRounds;
  }

  /** Bytes of CRIU's files and of memory so far. */
  get imageBytes(): number {
    let sum = this.memoryBytes;
    for (const bytes of this.received.values()) sum += bytes;
    return sum;
  }

  /** Of the first round of memory, which has all of it, the part of which each page has the content of another: 0 to 1. */
  get repeatedShare(): number {
    const { bytes, repeatedBytes } = this.firstRound ?? { bytes: 0, repeatedBytes: 0 };
    return repeatedBytes === 0 ? 0 : repeatedBytes / (bytes + repeatedBytes);
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
        return this.look();
      case TRANSFER_KINDS.tmpfs:
        return this.receiveTmpfs(file);
      case TRANSFER_KINDS.tmpfsRest:
        return this.receiveTmpfsRest(file);
      case TRANSFER_KINDS.memoryRound:
        return this.receiveRound(file);
      case TRANSFER_KINDS.memory:
        return this.receiveMemory(file);
      case TRANSFER_KINDS.postCopy:
        return this.sink.postCopy(file);
      case TRANSFER_KINDS.criuImage:
        return this.receiveCriuFile(file);
      case TRANSFER_KINDS.criuBundle:
        return this.receiveBundle(file);
      default:
        throw new DrayError("CORRUPT_STREAM", `the source sent a file of unknown kind "${file.kind}"`, {
          remedy: "Install the same version of Drayage on both nodes.",
        });
    }
  }

  private async receiveTmpfs({ name, metadata, content }: IncomingFile): Promise<void> {
    const { success, data } = TmpfsMetadata.safeParse(metadata);
    if (!success || data.number !== this.tmpfsCount || !isSound(data))
      throw new DrayError("CORRUPT_STREAM", `the tmpfs ${name} comes as ${JSON.stringify(metadata)}`);
    const { number } = data;
    this.tmpfsCount++;
    this.tmpfsPending.add(number);
    await this.sink.tmpfs(number, data, content);
  }

  private async receiveTmpfsRest({ name, metadata, content }: IncomingFile): Promise<void> {
    const { number } = metadata;
    if (typeof number !== "number" || !this.tmpfsPending.has(number))
      throw new DrayError("CORRUPT_STREAM", `the rest of the tmpfs ${name} comes as ${JSON.stringify(metadata)}`);
    await this.sink.tmpfsRest(number, content);
    this.tmpfsPending.delete(number);
    this.look();
  }

  private async receiveRound({ metadata, content }: IncomingFile): Promise<void> {
    const { round } = metadata;
    if (typeof round !== "number" || round !== this.rounds)
      throw new DrayError("CORRUPT_STREAM", `round ${JSON.stringify(round)} of memory where ${this.rounds} must come`);
    this.rounds++;
    const directory = await this.sink.roundDirectory(round);
    const received = await this.receivePages(content, directory, { mostBytes: undefined, isFinal: false });
    this.firstRound ??= received;
    this.memoryBytes += received.bytes;
    this.sink.roundComplete(directory);
  }

  private async receiveMemory({ metadata, content }: IncomingFile): Promise<void> {
    const mostBytes = typeof metadata["mostBytes"] === "number" ? metadata["mostBytes"] : undefined;
    const received = await this.receivePages(content, this.sink.imageDirectory, { mostBytes, isFinal: true });
    this.memoryBytes += received.bytes;
    this.inRounds = received.inParent;
    this.memoryDone = true;
    this.look();
  }

  private receivePages(
    content: Readable,
    directory: string,
    { mostBytes, isFinal }: { mostBytes: number | undefined; isFinal: boolean },
  ): Promise<ReceivedMemory> {
    const pagesDirectory = (writtenBytes: number) => this.sink.pagesDirectory(directory, writtenBytes, mostBytes);
    return receiveMemory(content, directory, { pagesDirectory, isFinal });
  }

  private async receiveCriuFile(file: IncomingFile): Promise<void> {
    if (!isImageName(file.name)) {
      throw new DrayError("CORRUPT_STREAM", `"${file.name}" is no name of a CRIU image`);
    }
    const bytes = await storeFile(file.content, join(this.sink.imageDirectory, file.name), { sync: false });
    this.received.set(file.name, bytes);
    this.look();
  }

  private async receiveBundle(file: IncomingFile): Promise<void> {
    this.manifest = await unpackImages(file.content as AsyncIterable<Buffer>, (name, content) => {
      // Small, and not synced: asynchronous, each would wait for its turn behind the frames of the pages.
      try {
        writeFileSync(join(this.sink.imageDirectory, name), content, { mode: 0o600 });
      } catch (error) {
        throw toDrayError(error);
      }
      this.received.set(name, content.length);
    });
    this.look();
  }

  /** What is here is compared as soon as it is known what should be; files may still be on their way. */
  private look(): void {
    if (this.manifest === undefined) return;
    const { files } = this.manifest;
    for (const { name, bytes: expected } of files) {
      const here = this.received.get(name);
      if (here !== undefined && here !== expected)
        throw new DrayError("CORRUPT_STREAM", `image ${name} has ${here} bytes here and ${expected} on the source`);
    }
    if (!this.layerRestDone || this.tmpfsPending.size > 0) return;
    if (files.some(({ name }) => !this.received.has(name))) return;
    // System V shared memory is read back with its namespace, pages and all, before CRIU has asked whether it may.
    const readsPagesEarly = files.some(({ name, bytes }) => isSystemVMemoryImage(name) && bytes > MAGIC_BYTES);
    if (this.memoryDone || !readsPagesEarly) this.restorableNow.resolve();
    if (this.memoryDone) this.completeNow.resolve();
  }
}

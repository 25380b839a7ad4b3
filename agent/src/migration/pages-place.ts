/**
 * Where the content of memory lies that arrives: in the transit directory, beside its page maps, as long as all that
 * may still come fits there; else on disk, and a link in its place. The room for one copy of the memory was found
 * before anything was sent; each round of pre-copy, and the switch, may bring as much once more, at other addresses, or
 * because what they change lies on disk.
 */
import { lstat, mkdir, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { unlessGone } from "../host/unless-gone.ts";
import { findTransitRoom, removeTransitDirectory, type TransitOptions } from "./transit-directory.ts";

/** Room is looked for anew when so much more has come. */
const LOOK_EVERY_BYTES = 32 * 1024 * 1024;
/** What `stat` counts in. */
const BLOCK_BYTES = 512;

export interface PagesPlaceOptions {
  readonly transit: TransitOptions;
  /** Of CRIU's images, below one of the two directories in `transit`; those of the rounds lie beside it. */
  readonly imageDirectory: string;
  readonly migrationId: string;
  /** Of which there will be images, in each round anew as it may be. */
  readonly memoryBytes: number;
}

export class PagesPlace {
  readonly #options: PagesPlaceOptions;
  readonly #onTmpfs: boolean;
  /** Held on tmpfs for this migration by rounds that are whole, bytes. */
  #heldBytes = 0;
  /** What `next` has said last, of which directory, and how many bytes it had then. */
  #said: { readonly directory: string; readonly writtenBytes: number; readonly place: string | null } | undefined;

  constructor(options: PagesPlaceOptions) {
    this.#options = options;
    this.#onTmpfs = options.imageDirectory.startsWith(`${options.transit.runDirectory}/`);
  }

  /**
   * For the image that is opened next in this directory of page maps, of which so many bytes of pages have been written
   * by now, and so many will be at most; null for the directory itself.
   */
  async next(directory: string, writtenBytes: number, mostBytes = this.#options.memoryBytes): Promise<string | null> {
    if (!this.#onTmpfs) return null;
    const said = this.#said;
    // Of hundreds of small processes not each is worth a look.
    if (said?.directory === directory && writtenBytes < said.writtenBytes + LOOK_EVERY_BYTES) return said.place;
    const place = await this.#find(directory, writtenBytes, mostBytes);
    this.#said = { directory, writtenBytes, place };
    return place;
  }

  /** A round is whole, and what it has superseded was given back. */
  async count(): Promise<void> {
    if (this.#onTmpfs) this.#heldBytes = await this.#countHeld();
  }

  /** What `next` has made. */
  async remove(): Promise<void> {
    await removeTransitDirectory(this.#options.transit, `${this.#options.migrationId}-pages`);
  }

  async #find(directory: string, writtenBytes: number, mostBytes: number): Promise<string | null> {
    const { transit, migrationId, memoryBytes } = this.#options;
    // What its tmpfs hold has come before: it is no longer free.
    const rest = { memoryBytes: Math.max(0, mostBytes - writtenBytes), besideBytes: memoryBytes };
    const tmpfsLimitBytes = transit.tmpfsLimitBytes - this.#heldBytes - writtenBytes;
    const { base } = await findTransitRoom({ ...transit, tmpfsLimitBytes }, rest);
    // Null: nowhere, if all of it comes once more. It seldom does, and is NO_SPACE then.
    if (base === null || base === transit.runDirectory) return null;
    const onDisk = join(base, "images", `${migrationId}-pages`, basename(directory));
    await mkdir(onDisk, { recursive: true, mode: 0o700 });
    return onDisk;
  }

  async #countHeld(): Promise<number> {
    const { imageDirectory } = this.#options;
    const beside = dirname(imageDirectory);
    let blocks = 0;
    for (const name of (await unlessGone(readdir(beside))) ?? []) {
      if (!name.startsWith(basename(imageDirectory))) continue;
      for (const file of (await unlessGone(readdir(join(beside, name)))) ?? [])
        blocks += (await unlessGone(lstat(join(beside, name, file))))?.blocks ?? 0;
    }
    return blocks * BLOCK_BYTES;
  }
}

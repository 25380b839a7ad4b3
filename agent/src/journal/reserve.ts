/**
 * Room that the journal keeps for migrations under way: a disk that others fill up meanwhile must neither leave a
 * container frozen nor keep the way back from being written down.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { Serial } from "@drayage/shared/concurrency/serial.ts";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { unlessGone } from "../host/unless-gone.ts";

/** Some hundred entries. */
export const RESERVE_BYTES = 1024 * 1024;

export class Reserve {
  readonly #path: string;
  readonly #serial = new Serial();

  constructor(path: string) {
    this.#path = path;
  }

  /** Resolves when the room is there. NO_SPACE. */
  keep(): Promise<void> {
    return this.#serial.run(() => this.#keep());
  }

  /** Gives the room back to the disk. False if there was none to give. */
  giveUp(): Promise<boolean> {
    return this.#serial.run(async () => {
      if ((await unlessGone(stat(this.#path))) === undefined) return false;
      await rm(this.#path, { force: true });
      return true;
    });
  }

  async #keep(): Promise<void> {
    if ((await unlessGone(stat(this.#path)))?.size === RESERVE_BYTES) return;
    const draft = `${this.#path}.new`;
    try {
      const file = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
      try {
        // Noise: what a file system can make smaller keeps no room.
        await file.writeFile(randomBytes(RESERVE_BYTES));
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(draft, this.#path);
    } catch (thrown) {
      await rm(draft, { force: true });
      const error = toDrayError(thrown);
      if (error.reason !== "NO_SPACE") throw error;
      throw new DrayError("NO_SPACE", `no room for the journal at ${this.#path}`, {
        remedy: "Make room there: no migration begins without a megabyte kept for its way back.",
        cause: thrown,
      });
    }
  }
}

export function isFull(thrown: unknown): boolean {
  return toDrayError(thrown).reason === "NO_SPACE";
}

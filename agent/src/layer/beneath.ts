/** Files of a layer by descriptor, reached through no link: whoever runs in the container may move what is on the way. */
import { closeSync, constants, openSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { addon } from "../native/addon.ts";
import { printable } from "./layer-path.ts";
import type { LayerPath } from "./types.ts";

export class LayerRoot {
  readonly #fd: number;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  /** A regular file, to be closed by the caller. Undefined if there is none, or a link or something else leads out of the layer. */
  open(path: LayerPath, forWriting: boolean): number | undefined {
    const fd = addon().openBeneath(this.#fd, Buffer.from(`${path}\0`, "latin1"), forWriting);
    if (fd >= 0) return fd;
    const code = getSystemErrorName(fd);
    if (ABSENT.has(code)) return undefined;
    throw new DrayError("COMMAND_FAILED", `open ${printable(path)} of the layer ${this.#directory}: ${code}`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** ENODEV: no regular file. ETXTBSY: a program that runs, which nobody writes to. */
const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EXDEV", "EISDIR", "ENODEV", "ETXTBSY"]);

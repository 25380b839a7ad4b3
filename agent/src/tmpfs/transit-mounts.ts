/**
 * File systems in memory that are mounted on this host for the time of a migration, below /run/drayage/tmpfs: on the
 * source the container's own, to be read; on the destination those that the copy will have. Removed by unmounting
 * alone: never is anything deleted in them, for a container may have them, too.
 */
import { mkdir, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { runCommand } from "../host/run-command.ts";
import { unlessGone } from "../host/unless-gone.ts";
import { nativeFile } from "../native/native-file.ts";
import type { CarriedTmpfs } from "./carried-tmpfs.ts";

export class TransitMounts {
  readonly #base: string;
  readonly #directory: string;

  /** `name` is the migration's id, with an ending on the source. */
  constructor({ runDirectory }: { readonly runDirectory: string }, name: string) {
    this.#base = join(runDirectory, "tmpfs");
    this.#directory = join(this.#base, name);
  }

  /** Mounts the container's own here, and returns where. NOT_FOUND if it is not there, or is another one by now. */
  async attach(initPid: number, number: number, tmpfs: CarriedTmpfs, signal?: AbortSignal): Promise<string> {
    const target = await this.#makeDirectory(number);
    await runCommand([nativeFile("drayage-container-mount"), `${initPid}`, tmpfs.mountPoint, target], { signal });
    const device = (await mountsOf("self")).find(({ mountPoint }) => mountPoint === target)?.device;
    if (device === tmpfs.device) return target;
    throw new DrayError("NOT_FOUND", `the tmpfs ${tmpfs.mountPoint} of the container is not there any more`, {
      remedy: "Its mounts change while it is migrated: migrate it again when they do not.",
    });
  }

  /** Mounts a new one here, empty, and returns where. COMMAND_FAILED if this kernel does not know an option. */
  async make(
    number: number,
    { source, options }: Pick<CarriedTmpfs, "source" | "options">,
    signal?: AbortSignal,
  ): Promise<string> {
    const target = await this.#makeDirectory(number);
    const flags = ["nosuid", "nodev", ...options].join(",");
    await runCommand(["mount", "-t", "tmpfs", "-o", flags, source, target], { signal });
    return target;
  }

  /** What a container has of them, it keeps. May be repeated. */
  async remove(): Promise<void> {
    await removeMounts(this.#directory);
    await unlessGone(rmdir(this.#directory));
  }

  async #makeDirectory(number: number): Promise<string> {
    const target = join(this.#directory, `${number}`);
    await mkdir(target, { recursive: true, mode: 0o700 });
    return target;
  }
}

/** Removes those that belong to none of these migrations: made just before a crash, before any journal knew of them. */
export async function sweepTransitMounts(
  { runDirectory }: { readonly runDirectory: string },
  migrationIds: readonly string[],
): Promise<void> {
  const names = (await unlessGone(readdir(join(runDirectory, "tmpfs")))) ?? [];
  for (const name of names) {
    if (!migrationIds.some((id) => name.startsWith(id))) await new TransitMounts({ runDirectory }, name).remove();
  }
}

async function removeMounts(directory: string): Promise<void> {
  for (const name of (await unlessGone(readdir(directory))) ?? []) {
    const path = join(directory, name);
    // One may lie over another where an attempt was repeated.
    for (const _ of (await mountsOf("self")).filter(({ mountPoint }) => mountPoint === path)) {
      await runCommand(["umount", "--lazy", path]);
    }
    await unlessGone(rmdir(path));
  }
}

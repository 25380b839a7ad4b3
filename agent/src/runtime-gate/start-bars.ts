/**
 * Bars against a cold start, one file for each container that a migration may have given to another node.
 *
 * Restore records are gone after a reboot, like the copies that they speak of. A bar stays: while there is one and no
 * record, drayage-runc (start-bar.c) refuses to create or start the container, whether the agent is up or not. Only
 * the agent, by its journal and etcd, knows whose the container is.
 */
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { writeDurably } from "./record-store.ts";

/** Compiled into drayage-runc, too, so no configuration moves it. */
const DIRECTORY = "/var/lib/drayage/barred";

export interface StartBars {
  /** Resolves when the bar is on disk. Idempotent. NO_SPACE. */
  set(dockerId: string, migrationId: string): Promise<void>;
  /** From now on the container is one like any other. Idempotent. */
  lift(dockerId: string): Promise<void>;
  /** Lifts those of all other migrations: they have ended, and nobody would. */
  keepOnly(migrationIds: readonly string[]): Promise<void>;
}

export async function openStartBars(directory: string = DIRECTORY): Promise<StartBars> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const pathOf = (dockerId: string) => {
    if (!/^[0-9a-f]{64}$/.test(dockerId))
      throw new DrayError("BAD_REQUEST", `${JSON.stringify(dockerId)} is no Docker id`);
    return join(directory, dockerId);
  };
  return {
    set: async (dockerId, migrationId) => await writeDurably(pathOf(dockerId), `${migrationId}\n`),
    lift: async (dockerId) => await rm(pathOf(dockerId), { force: true }),
    async keepOnly(migrationIds) {
      for (const name of await readdir(directory)) {
        const path = join(directory, name);
        if (!migrationIds.includes((await readFile(path, "utf8")).trim())) await rm(path);
      }
    },
  };
}

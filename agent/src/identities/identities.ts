/**
 * Drayage's own identities of the containers of this host: a UUID by Docker id, one file each. Docker's id ends with
 * a move, the UUID does not.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export interface Identities {
  /** The container's UUID; made and stored durably at first sight. */
  identityOf(dockerId: string): Promise<string>;
  /** The UUID if this host has one for the container. */
  find(dockerId: string): Promise<string | undefined>;
  /** Docker id by UUID, if known here. */
  dockerIdOf(uuid: string): Promise<string | undefined>;
  /** Gives a container that came here the UUID that it had; durable when this resolves. */
  adopt(dockerId: string, uuid: string): Promise<void>;
  /** Durable when this resolves; nothing to do if there is none. */
  forget(dockerId: string): Promise<void>;
  /** All that is stored: UUID by Docker id. */
  all(): Promise<ReadonlyMap<string, string>>;
}

const DOCKER_ID = /^[0-9a-f]{64}$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TEMPORARY = ".new-";

/** `directory` is `<stateDirectory>/identities`; made if missing. */
export async function openIdentities(directory: string): Promise<Identities> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    if (name.startsWith(TEMPORARY)) await unlink(join(directory, name));
  }

  const find = async (dockerId: string): Promise<string | undefined> => {
    try {
      const uuid = (await readFile(fileOf(dockerId), "utf8")).trim();
      if (!UUID.test(uuid)) throw new DrayError("INTERNAL", `the identity file of container ${dockerId} is damaged`);
      return uuid;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw thrown;
    }
  };

  const fileOf = (dockerId: string): string => {
    if (!DOCKER_ID.test(dockerId)) throw new DrayError("BAD_REQUEST", `not a full Docker id: ${dockerId}`);
    return join(directory, dockerId);
  };

  /** Written aside, synced, then put in place by `place`. */
  const store = async (uuid: string, place: (temporary: string) => Promise<void>): Promise<void> => {
    const temporary = join(directory, `${TEMPORARY}${randomUUID()}`);
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(`${uuid}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    try {
      await place(temporary);
    } catch (thrown) {
      await unlink(temporary);
      throw thrown;
    }
    await syncDirectory(directory);
  };

  const all = async (): Promise<ReadonlyMap<string, string>> => {
    const found = new Map<string, string>();
    for (const name of await readdir(directory)) {
      const uuid = DOCKER_ID.test(name) ? await find(name) : undefined;
      if (uuid !== undefined) found.set(name, uuid);
    }
    return found;
  };

  return {
    find,
    all,
    async identityOf(dockerId) {
      const known = await find(dockerId);
      if (known !== undefined) return known;
      const uuid = randomUUID();
      try {
        // A link does not replace: of two first sights at once, one wins, and both give its UUID.
        await store(uuid, async (temporary) => {
          await link(temporary, fileOf(dockerId));
          await unlink(temporary);
        });
        return uuid;
      } catch (thrown) {
        const winner = (thrown as NodeJS.ErrnoException).code === "EEXIST" ? await find(dockerId) : undefined;
        if (winner === undefined) throw thrown;
        return winner;
      }
    },
    async dockerIdOf(uuid) {
      for (const [dockerId, stored] of await all()) if (stored === uuid) return dockerId;
      return undefined;
    },
    async adopt(dockerId, uuid) {
      if (!UUID.test(uuid)) throw new DrayError("BAD_REQUEST", `not a UUID: ${uuid}`);
      await store(uuid, (temporary) => rename(temporary, fileOf(dockerId)));
    },
    async forget(dockerId) {
      try {
        await unlink(fileOf(dockerId));
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
      }
      await syncDirectory(directory);
    },
  };
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

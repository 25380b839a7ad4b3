/** Restore records and session files on disk; written whole, synced, private. */
import { mkdir, open, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { decodeRecord, encodeRecord, type RestoreRecord } from "./restore-record.ts";

export class RecordStore {
  readonly #recordDirectory: string;
  readonly #sessionDirectory: string;
  readonly #runtimePath: string;

  constructor(recordDirectory: string, sessionDirectory: string, runtimePath: string) {
    this.#recordDirectory = recordDirectory;
    this.#sessionDirectory = sessionDirectory;
    this.#runtimePath = runtimePath;
  }

  async prepareDirectories(): Promise<void> {
    for (const directory of [this.#recordDirectory, this.#sessionDirectory]) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
    }
  }

  sessionFile(dockerId: string, name: string): string {
    return join(this.#sessionDirectory, checkedId(dockerId), name);
  }

  /** The files that a restore's CRIU, its action script and the network hook need without any agent. */
  async createSession(dockerId: string, files: Readonly<Record<string, string>>): Promise<void> {
    const directory = join(this.#sessionDirectory, checkedId(dockerId));
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { mode: 0o700 });
    for (const name of ["criu", "criu-action", "network-hook"]) await symlink(this.#runtimePath, join(directory, name));
    for (const [name, text] of Object.entries(files)) await writeDurably(join(directory, name), text);
  }

  async writeRecord(record: RestoreRecord): Promise<void> {
    await writeDurably(join(this.#recordDirectory, record.dockerId), encodeRecord(record));
  }

  /** All records; the unreadable ones are given to `onUnreadable` and stay, so that drayage-runc refuses. */
  async readRecords(onUnreadable: (name: string, cause: unknown) => void): Promise<RestoreRecord[]> {
    const records: RestoreRecord[] = [];
    for (const name of await readdir(this.#recordDirectory)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      try {
        const record = decodeRecord(await readFile(join(this.#recordDirectory, name), "utf8"));
        if (record.dockerId === name) records.push(record);
        else onUnreadable(name, new Error(`names the container ${record.dockerId}`));
      } catch (cause) {
        onUnreadable(name, cause);
      }
    }
    return records;
  }

  async remove(dockerId: string): Promise<void> {
    const record = join(this.#recordDirectory, checkedId(dockerId));
    // Of a process that was killed while it wrote.
    await rm(draftOf(record), { force: true });
    await rm(record, { force: true });
    await syncDirectory(this.#recordDirectory);
    await rm(join(this.#sessionDirectory, checkedId(dockerId)), { recursive: true, force: true });
  }
}

/** It becomes part of a path: nothing but an id may. */
function checkedId(dockerId: string): string {
  if (!/^[0-9a-f]{64}$/.test(dockerId))
    throw new DrayError("BAD_REQUEST", `${JSON.stringify(dockerId)} is no Docker id`);
  return dockerId;
}

/** One for each file: several are written at once. */
function draftOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.draft`);
}

/** Replaces a file as a whole: readers see the old one or the new one. Writes of one file must not overlap. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const draft = draftOf(path);
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * The agent's journal: what it intends and what it has done, one file for each
 * migration, fsynced before each irreversible act.
 *
 * Format: one JSON document a line, `{"crc": <crc32 of the rest>, "entry": {...}}`.
 * Each entry is the whole state at that moment, so the last whole line is the
 * truth and nothing has to be replayed. A torn last line (power cut in the
 * middle of a write) is dropped; a damaged line before it is an error.
 */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { JournalEntry } from "./entry.ts";
import { isFull, Reserve } from "./reserve.ts";

/** Ended migrations of which the journal is kept, for questions asked late. */
const KEPT_ENDED = 100;
const SUFFIX = ".journal";

export class Journal {
  private readonly directory: string;
  private readonly reserve: Reserve;
  /** Writes of one migration happen one after the other. */
  private readonly queues = new Map<string, Promise<void>>();
  /** Migrations whose last line this process has written whole: nothing has to be read before the next one. */
  private readonly whole = new Set<string>();

  private constructor(directory: string) {
    this.directory = directory;
    this.reserve = new Reserve(join(directory, "reserve"));
  }

  /** Opens the journal directory, creating it (0700) if needed. */
  static async open(directory: string): Promise<Journal> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new Journal(directory);
  }

  /** Appends an entry and returns once it is on disk. NO_SPACE, for a new migration sooner than for one under way. */
  write(entry: JournalEntry): Promise<void> {
    const id = entry.migrationId;
    const previous = this.queues.get(id) ?? Promise.resolve();
    const next = previous.catch(() => undefined).then(() => this.append(entry));
    this.queues.set(id, next);
    const forget = () => {
      if (this.queues.get(id) === next) this.queues.delete(id);
    };
    next.then(forget, forget);
    return next;
  }

  /** The last entry of a migration, or null. */
  async read(migrationId: string): Promise<JournalEntry | null> {
    let text: string;
    try {
      text = await readFile(this.pathOf(migrationId), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
    return parseJournal(text, this.pathOf(migrationId));
  }

  /** The last entries of all migrations in the journal. */
  async readAll(): Promise<JournalEntry[]> {
    const entries: JournalEntry[] = [];
    for (const name of await readdir(this.directory)) {
      if (!name.endsWith(SUFFIX)) continue;
      const entry = await this.read(basename(name, SUFFIX));
      if (entry !== null) entries.push(entry);
    }
    return entries;
  }

  /** Deletes the oldest journals of ended migrations beyond those that are kept. */
  async prune(isEnded: (entry: JournalEntry) => boolean): Promise<void> {
    const ended: { id: string; mtimeMs: number }[] = [];
    for (const entry of await this.readAll()) {
      if (!isEnded(entry)) continue;
      const { mtimeMs } = await stat(this.pathOf(entry.migrationId));
      ended.push({ id: entry.migrationId, mtimeMs });
    }
    ended.sort((a, b) => b.mtimeMs - a.mtimeMs);
    for (const { id } of ended.slice(KEPT_ENDED)) {
      this.whole.delete(id);
      await rm(this.pathOf(id), { force: true });
    }
  }

  private pathOf(migrationId: string): string {
    if (!/^[0-9a-f]{12}$/.test(migrationId)) {
      throw new DrayError("BAD_REQUEST", `"${migrationId}" is not a migration id (12 hex digits)`);
    }
    return join(this.directory, migrationId + SUFFIX);
  }

  private async append(entry: JournalEntry): Promise<void> {
    const { migrationId } = entry;
    const line = formatLine(entry);
    const isWhole = this.whole.delete(migrationId);
    const isNew = !isWhole && (await this.read(migrationId)) === null;
    if (isNew) {
      await this.reserve.keep();
      await this.begin(migrationId, line);
    } else {
      try {
        await this.appendLine(migrationId, line, isWhole);
      } catch (thrown) {
        if (!isFull(thrown) || !(await this.reserve.giveUp())) throw thrown;
        await this.appendLine(migrationId, line, false);
      }
    }
    this.whole.add(migrationId);
  }

  /** A new file appears whole or not at all. */
  private async begin(migrationId: string, line: string): Promise<void> {
    const path = this.pathOf(migrationId);
    const temporary = `${path}.new`;
    try {
      const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
      try {
        await file.writeFile(line);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (thrown) {
      await rm(temporary, { force: true });
      throw thrown;
    }
    await syncDirectory(dirname(path));
  }

  private async appendLine(migrationId: string, line: string, isWhole: boolean): Promise<void> {
    const path = this.pathOf(migrationId);
    if (!isWhole) await dropTornTail(path);
    const file = await open(path, constants.O_WRONLY | constants.O_APPEND);
    try {
      await file.writeFile(line);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}

/** One line of the file, newline included. */
export function formatLine(entry: JournalEntry): string {
  const body = JSON.stringify(entry);
  return `{"crc":${crc32(body)},"entry":${body}}\n`;
}

/** The last whole entry of a journal's text, or null if it has none. */
export function parseJournal(text: string, path: string): JournalEntry | null {
  const lines = text.split("\n");
  const torn = lines.pop() !== "";
  let last: JournalEntry | null = null;
  for (const [index, line] of lines.entries()) {
    const parsed = parseLine(line);
    if (parsed === null) {
      const isLast = index === lines.length - 1 && !torn;
      if (isLast) return last;
      throw new DrayError("INTERNAL", `line ${index + 1} of ${path} is damaged`, {
        remedy:
          "The disk returned other bytes than were written; compare the container's owner in etcd before anything.",
      });
    }
    last = parsed;
  }
  return last;
}

function parseLine(line: string): JournalEntry | null {
  const match = /^\{"crc":(\d+),"entry":(.*)\}$/s.exec(line);
  if (match === null || crc32(match[2] ?? "") !== Number(match[1])) return null;
  return JournalEntry.parse(JSON.parse(match[2] ?? ""));
}

/** Cuts a torn last line off, so that the next one does not join it. */
async function dropTornTail(path: string): Promise<void> {
  const text = await readFile(path, "utf8");
  if (text.endsWith("\n")) return;
  const file = await open(path, constants.O_RDWR);
  try {
    await file.truncate(Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1)));
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Refuses orders of leaders that have been replaced (invariant 5). The highest
 * term seen is on disk before an order of that term is carried out, so that a
 * restart of the agent does not forget it.
 */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

export class TermGuard {
  private readonly path: string;
  private highest: number;
  /** The highest on disk. */
  private durable: number;
  private writing: Promise<void> = Promise.resolve();

  private constructor(path: string, highest: number) {
    this.path = path;
    this.highest = highest;
    this.durable = highest;
  }

  /** Reads the highest term from `path`; a missing file means none yet. */
  static async open(path: string): Promise<TermGuard> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    try {
      const text = (await readFile(path, "utf8")).trim();
      if (!/^\d+$/.test(text)) {
        throw new DrayError("INTERNAL", `${path} holds no term but "${text.slice(0, 40)}"`, {
          remedy: `Delete ${path}; the next order of a leader writes it anew.`,
        });
      }
      return new TermGuard(path, Number(text));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return new TermGuard(path, 0);
      throw error;
    }
  }

  /** Returns when the term is known to be the highest and durable; throws STALE_TERM for an older one. */
  async admit(term: number): Promise<void> {
    if (term < this.highest) {
      throw new DrayError("STALE_TERM", `the order carries term ${term}, but term ${this.highest} was seen here`);
    }
    this.highest = term;
    if (term === this.durable) return;
    const write = this.writing.then(() => this.store(term));
    this.writing = write.catch(() => undefined);
    await write;
  }

  private async store(term: number): Promise<void> {
    if (term <= this.durable) return;
    const temporary = `${this.path}.new`;
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(`${term}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    const directory = await open(dirname(this.path), "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
    this.durable = term;
  }
}

/** Takes the memory that CRIU brings while it dumps, and gives it on to be sent. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { dumpedMemory } from "../memory/dumped-memory.ts";
import type { FrozenMemory } from "../memory/frozen-memory.ts";
import type { Known } from "../memory/page-judge.ts";
import { startPageServer } from "../page-server/page-server.ts";

export interface PagesOfDump {
  /** Where the dump is to bring it. */
  readonly pageServerPath: string;
  readonly memory: FrozenMemory;
  /** The dump is over, or is not made. If not everything has come it never will: by this error, if the dump has failed. */
  end(error?: unknown): void;
}

export interface PagesOptions {
  /** A directory of the migration's, for the socket; created, 0700. */
  readonly workDirectory: string;
  readonly known: Known | null;
  readonly logger: Logger;
  /** Until the last page, from now on. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/**
 * What breaks the page server breaks the dump, whose error says more than that of the server: whoever sends the memory
 * is told of none but that.
 */
export async function pagesOfDump(options: PagesOptions): Promise<PagesOfDump> {
  const { workDirectory, known, logger, deadlineMs, signal } = options;
  const { sink, memory, fail } = dumpedMemory(known);
  const over = new AbortController();
  await mkdir(workDirectory, { recursive: true, mode: 0o700 });
  const path = join(workDirectory, "pages.socket");
  const server = await startPageServer({ path, sink, deadlineMs, signal: AbortSignal.any([signal, over.signal]) });
  server.done.then(
    (totals) => logger.info({ ...totals }, "CRIU has brought the memory"),
    (error: unknown) => logger.info({ err: error }, "CRIU has not brought all of the memory"),
  );
  return {
    pageServerPath: path,
    memory,
    end: (error) => {
      fail(error ?? new DrayError("CRIU_DUMP_FAILED", "CRIU has dumped without bringing the memory"));
      over.abort();
    },
  };
}

/** Takes the memory that CRIU brings while it dumps, and gives it on to be sent. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "@drayage/shared/observe/logger.ts";
import { type DumpedMemoryOptions, dumpedMemory, type SwitchedMemory } from "../memory/dumped-memory.ts";
import { startPageServer } from "../page-server/page-server.ts";

export interface PagesOfDump {
  /** Where the dump is to bring it. */
  readonly pageServerPath: string;
  readonly memory: SwitchedMemory;
  /** The dump has gone well. */
  complete(): void;
  /** It has failed, or is not made: what has not come never will. Nothing if it is complete. */
  fail(error: unknown): void;
}

export interface PagesOptions extends DumpedMemoryOptions {
  /** A directory of the migration's, for the socket; created, 0700. */
  readonly workDirectory: string;
  readonly logger: Logger;
  /** Until the last page, from now on. */
  readonly deadlineMs: number;
}

/**
 * What breaks the page server breaks the dump, whose error says more than that of the server: whoever sends the memory
 * is told of none but that.
 */
export async function pagesOfDump(options: PagesOptions): Promise<PagesOfDump> {
  const { workDirectory, logger, deadlineMs, signal } = options;
  const { sink, memory, complete, fail } = dumpedMemory(options);
  const over = new AbortController();
  await mkdir(workDirectory, { recursive: true, mode: 0o700 });
  const path = join(workDirectory, "pages.socket");
  const server = await startPageServer({
    ...{ path, sink, deadlineMs, offersRest: true },
    signal: AbortSignal.any([signal, over.signal]),
  });
  server.done.then(
    (totals) => logger.info({ ...totals }, "CRIU has brought the memory"),
    (error: unknown) => logger.info({ err: error }, "CRIU has not brought all of the memory"),
  );
  return {
    pageServerPath: path,
    memory,
    complete: () => {
      complete();
      over.abort();
    },
    fail: (error) => {
      fail(error);
      over.abort();
    },
  };
}

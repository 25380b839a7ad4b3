/** The memory of the final dump: from CRIU's hands to the peer's. */
import type { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { TransferConnection } from "@drayage/shared/page-stream/transfer-types.ts";
import { DumpMemory } from "../memory/dump-memory.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { type PageServerOptions, startPageServer } from "../page-server/page-server.ts";
import type { Report } from "./joinable-run.ts";
import type { SentMemory } from "./outgoing-transfer.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";

export interface DumpedMemory {
  /** Of the page server, on the loopback. */
  readonly port: number;
  /** Pages that CRIU has given so far. */
  readonly seenPages: number;
  /** Of them, those that the destination did not have. */
  readonly sentPages: number;
  /** Resolves when CRIU has given everything and the destination has it. Once. */
  send(connection: TransferConnection, report: Report, signal: AbortSignal): Promise<void>;
  /** Nothing more will come; ends `send`. Nothing happens after its end. */
  fail(error: DrayError): void;
}

/** Listens for a dump. What the destination has is left out. */
export async function listenForMemory(
  sent: SentMemory | undefined,
  options: Pick<PageServerOptions, "deadlineMs" | "signal" | "onRefused">,
): Promise<DumpedMemory> {
  const known = sent === undefined ? null : { digests: sent.digests, round: sent.rounds };
  const memory = new DumpMemory(known);
  const ending = new AbortController();
  const signals = options.signal === undefined ? [ending.signal] : [options.signal, ending.signal];
  const server = await startPageServer({ ...options, sink: memory, signal: AbortSignal.any(signals) });
  const fail = (error: DrayError) => {
    memory.fail(error);
    ending.abort(error);
  };
  return {
    port: server.port,
    get seenPages() {
      return memory.seenPages;
    },
    get sentPages() {
      return memory.sentPages;
    },
    async send(connection, report, signal) {
      const received = server.done.catch((thrown: unknown) => {
        memory.fail(thrown as Error);
        throw thrown;
      });
      const name = { kind: TRANSFER_KINDS.memory, name: "memory" };
      const sending = connection.sendChunks(name, memory.chunks, {
        signal,
        onProgress: () =>
          report({
            step: "send-memory",
            doneBytes: memory.sentPages * PAGE_BYTES,
            totalBytes: 0,
            message: known === null ? "" : `${memory.seenPages} pages compared`,
          }),
      });
      // CRIU waits for whoever takes its pages: an end on one side is one of the other, too.
      sending.catch((thrown: unknown) => ending.abort(thrown));
      await Promise.all([received, sending]);
    },
    fail,
  };
}

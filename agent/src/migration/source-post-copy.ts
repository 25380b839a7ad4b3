/**
 * The source's part after the switch of a post-copy: the container stands frozen, and its memory goes where its copy
 * wants it, over whatever connection there is.
 *
 *   sent ─► serving ─── everything is there ─────► waits for "running", as after any switch
 *             │  ▲
 *             └──┘ connection lost, agent restarted: connects anew
 */
import { pauseAtMost } from "@drayage/shared/concurrency/pause.ts";
import { toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { faultPoint } from "@drayage/shared/fault/fault-point.ts";
import { openFrozenProcesses } from "../memory/frozen-processes.ts";
import { PageSource } from "../post-copy/page-source.ts";
import { parseWord } from "../post-copy/words.ts";
import type { SourceContext } from "./source-context.ts";
import { TRANSFER_KINDS } from "./transfer-kinds.ts";

const RECONNECT_MS = 100;
const RECONNECT_MOST_MS = 2000;

/**
 * Serves until the copy has everything, the migration has `ended` here, or the container `ranOn`: it is no more what was
 * dumped. Never rejects. Precondition: `sent`, frozen, `postCopy` is journaled.
 */
export async function servePages(context: SourceContext, ranOn: AbortSignal, ended: AbortSignal): Promise<void> {
  const { record, logger, transfer } = context;
  const { postCopy, frozen } = record.entry;
  if (postCopy === null || frozen === null) return;
  const signal = AbortSignal.any([ranOn, ended]);
  let told = "";
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      if (await hasRunOn(context, frozen.pid)) break;
      const connection = await transfer.reconnect(postCopy, signal);
      await faultPoint("source.before-serving-pages");
      await serveOver(context, connection, signal);
      logger.info({ phase: "post-copy" }, "the copy needs no more of its memory");
      return;
    } catch (thrown) {
      if (signal.aborted) break;
      const error = toDrayError(thrown);
      // As long as a link is cut it is the same each time.
      if (error.message !== told)
        logger.warn({ phase: "post-copy", err: error }, "memory does not get to the copy; trying again");
      told = error.message;
      await transfer.disconnect();
      await pauseAtMost(Math.min(RECONNECT_MOST_MS, RECONNECT_MS * 2 ** attempt), signal);
    }
  }
  // On the way back, and at the end, it is the migration that sets it going or removes it.
  if (ended.aborted || record.entry.state !== "sent") return;
  await transfer.disconnect();
  logger.error({ phase: "post-copy" }, "what was frozen here is no more, or has run on: the copy gets no memory of it");
}

/** After a start, or a reboot, it is another container's memory, whatever the pid. It was paused by Docker to be frozen. */
async function hasRunOn({ record, container }: SourceContext, frozenPid: number): Promise<boolean> {
  if (record.entry.ranOn) return true;
  const inspect = await container.inspect();
  return inspect?.State.Pid !== frozenPid || !inspect.State.Paused;
}

async function serveOver(
  { record, container, transfer }: SourceContext,
  connection: Awaited<ReturnType<SourceContext["transfer"]["reconnect"]>>,
  signal: AbortSignal,
): Promise<void> {
  const initPid = record.entry.frozen?.pid ?? 0;
  const { known, sentMemory } = transfer;
  const cgroup = await container.cgroup();
  const processes = await openFrozenProcesses({ cgroup, initPid, tracking: sentMemory?.tracking ?? null });
  const source = new PageSource(processes.all, known && { ...known, repeated: null, changing: null });
  try {
    await connection.sendChunks({ kind: TRANSFER_KINDS.postCopy, name: "pages" }, source.chunks(), {
      signal,
      onWord: (word) => source.onWord(parseWord(word)),
    });
  } catch (thrown) {
    source.fail(toDrayError(thrown));
    throw thrown;
  } finally {
    processes.close();
  }
}

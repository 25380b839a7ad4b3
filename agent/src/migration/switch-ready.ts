/** What of a switch is prepared while the container still runs. */
import { type PreparedDump, prepareDump } from "../criu/dump-container.ts";
import { openFrozenProcesses } from "../memory/frozen-processes.ts";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { prepareMacBlocks } from "../network-lock/mac-block.ts";
import type { PreparedRules } from "../network-lock/prepared-rules.ts";
import { prepareDropAll } from "../network-lock/source-lock.ts";
import { flushSharedFiles, hasSharedStorage } from "../shared-storage/settle.ts";
import { type PagesOfDump, pagesOfDump } from "./pages-of-dump.ts";
import type { SourceContext } from "./source-context.ts";
import { watchedPaths } from "./watched-paths.ts";
import type { SwitchTarget } from "./switch-target.ts";

const DUMP_DEADLINE_MS = 10 * 60_000;
/** A link of eight megabits, if nobody has asked for less. */
const SLOWEST_BYTES_PER_SECOND = 1_000_000;
/** Node's timers end there, with room for what is added. */
const LONGEST_TIMER_MS = 2 ** 30;
/** From the end of the page server until CRIU has ended by itself: it gives back what it holds of the processes. */
const CRIU_END_MS = 60_000;

/** Programs that have been started and wait: what they do takes milliseconds then, their start has taken its tens before. */
export interface Ready {
  readonly drop: PreparedRules;
  readonly block: PreparedRules;
  readonly dump: PreparedDump;
  readonly pages: PagesOfDump;
  /** The container has files on storage that the destination has, too. */
  readonly sharedStorage: boolean;
  discard(): void;
}

/** How long sending all of the memory may take, ms. */
function longestSendMs({ memoryBytes, bandwidthBytesPerSecond }: SwitchTarget): number {
  const slowest = Math.min(SLOWEST_BYTES_PER_SECOND, bandwidthBytesPerSecond / 2 || Infinity);
  return Math.min(LONGEST_TIMER_MS, Math.ceil((memoryBytes / slowest) * 1000));
}

export async function makeReady(
  { host, logger }: Pick<SourceContext, "host" | "logger">,
  target: SwitchTarget,
  signal: AbortSignal,
): Promise<Ready> {
  const { migrationId, pid, cgroup, known, tracking, workDirectory } = target;
  const watched = await watchedPaths(pid, signal);
  const sharedStorage = await hasSharedStorage(pid);
  if (sharedStorage) await flushSharedFiles(pid, signal);
  const blocks = [...target.parents].map(([parent, macs]) => ({ migrationId, parent, macs }));
  const block = await prepareMacBlocks(blocks, signal);
  const drop = await prepareDropAll({ pid, migrationId });
  let pages: PagesOfDump | undefined;
  const discardOthers = () => {
    pages?.fail(new DrayError("CANCELLED", "the container is not dumped"));
    block.discard();
    drop.discard();
  };
  try {
    const deadlineMs = DUMP_DEADLINE_MS + longestSendMs(target);
    const processes = target.postCopy ? null : () => openFrozenProcesses({ cgroup, initPid: pid, tracking });
    pages = await pagesOfDump({ known, processes, workDirectory, logger, deadlineMs, signal });
    const dump = await prepareDump({
      dockerId: target.dockerId,
      migrationId,
      imageDirectory: target.imageDirectory,
      workDirectory,
      runcRoot: host.config.runcRoot,
      pageServerPath: pages.pageServerPath,
      watchedPaths: watched,
      leftOutMounts: target.tmpfs.map(({ mount }) => mount.mountPoint),
      deadlineMs: deadlineMs + CRIU_END_MS,
      signal,
    });
    return {
      drop,
      block,
      dump,
      pages,
      sharedStorage,
      discard: () => {
        discardOthers();
        dump.discard();
      },
    };
  } catch (error) {
    discardOthers();
    throw error;
  }
}

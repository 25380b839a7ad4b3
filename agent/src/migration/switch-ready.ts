/** What of a switch is prepared while the container still runs. */
import { type PreparedDump, prepareDump } from "../criu/dump-container.ts";
import { prepareMacBlocks } from "../network-lock/mac-block.ts";
import type { PreparedRules } from "../network-lock/prepared-rules.ts";
import { prepareDropAll } from "../network-lock/source-lock.ts";
import { flushSharedFiles, hasSharedStorage } from "../shared-storage/settle.ts";
import type { AgentHost } from "./agent-host.ts";
import { watchedPaths } from "./watched-paths.ts";
import type { SwitchTarget } from "./switch-target.ts";

const DUMP_DEADLINE_MS = 10 * 60_000;

/** Programs that have been started and wait: what they do takes milliseconds then, their start has taken its tens before. */
export interface Ready {
  readonly drop: PreparedRules;
  readonly block: PreparedRules;
  readonly dump: PreparedDump;
  /** The container has files on storage that the destination has, too. */
  readonly sharedStorage: boolean;
  discard(): void;
}

export async function makeReady(host: AgentHost, target: SwitchTarget, signal: AbortSignal): Promise<Ready> {
  const { migrationId, pid } = target;
  const watched = await watchedPaths(pid, signal);
  const sharedStorage = await hasSharedStorage(pid);
  if (sharedStorage) await flushSharedFiles(pid, signal);
  const blocks = [...target.parents].map(([parent, macs]) => ({ migrationId, parent, macs }));
  const block = await prepareMacBlocks(blocks, signal);
  const drop = await prepareDropAll({ pid, migrationId });
  const discardRules = () => {
    block.discard();
    drop.discard();
  };
  try {
    const dump = await prepareDump({
      dockerId: target.dockerId,
      migrationId,
      imageDirectory: target.imageDirectory,
      workDirectory: target.workDirectory,
      runcRoot: host.config.runcRoot,
      memory: "lazy",
      watchedPaths: watched,
      leftOutMounts: target.tmpfs.map(({ mount }) => mount.mountPoint),
      deadlineMs: DUMP_DEADLINE_MS,
      signal,
    });
    return {
      drop,
      block,
      dump,
      sharedStorage,
      discard: () => {
        discardRules();
        dump.discard();
      },
    };
  } catch (error) {
    discardRules();
    throw error;
  }
}

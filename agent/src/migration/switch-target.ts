/** What a switch works on: the container as it is when the switch begins, and what of it the destination has. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import type { SwitchRequest } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { processesWithAlignedStack } from "../criu/aligned-stacks.ts";
import type { ContainerInspect } from "../docker/types.ts";
import { broughtBytesOf, dumpBytesLimitOf } from "../host/dump-bytes-limit.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { layerDirectory, SentTree } from "../layer/layer.ts";
import type { Known } from "../memory/page-judge.ts";
import type { Throttle } from "../memory/throttle.ts";
import type { WriteTracking } from "../memory/write-tracking.ts";
import { ALLOW_CONNECTION_LOSS } from "../preflight/bridge-connections.ts";
import { carriedTmpfs } from "../tmpfs/carried-tmpfs.ts";
import type { SentTmpfs } from "../tmpfs/sent-tmpfs.ts";
import { endpointsOf, macsByParent } from "./endpoints.ts";
import type { SourceContext } from "./source-context.ts";

/** How the switch is to be done. */
export type SwitchOrder = Pick<SwitchRequest, "postCopy" | "allowFlags">;

/** What is known of the container when the switch begins. */
export interface SwitchTarget {
  readonly dockerId: string;
  readonly migrationId: string;
  /** Its init, on the host. */
  readonly pid: number;
  readonly cgroup: string;
  /** MAC addresses by the parent interface through which they leave. */
  readonly parents: ReadonlyMap<string, readonly string[]>;
  /** Bridge networks that it is on; empty if the loss of its connections was accepted. */
  readonly bridges: readonly string[];
  /** Its writable layer. */
  readonly layer: SentTree;
  /** What it has of tmpfs that is not left to CRIU. */
  readonly tmpfs: readonly SentTmpfs[];
  /** All that may have to be sent of its memory, about. */
  readonly memoryBytes: number;
  /** What the destination has of its memory; null if nothing. */
  readonly known: Known | null;
  /** What was written to since then; null if that cannot be asked. */
  readonly tracking: WriteTracking | null;
  readonly throttle: Throttle | undefined;
  /** Private memory stays where it is: the copy will fetch it. */
  readonly postCopy: boolean;
  /** What CRIU brings of it even where private memory stays, about. */
  readonly broughtBytes: number;
  /** Cap of the transfer; 0 if there is none. */
  readonly bandwidthBytesPerSecond: number;
  readonly imageDirectory: string;
  readonly workDirectory: string;
}

/** What the steps need to know and to have. NO_SPACE if there is no room for the images. */
export async function findTarget(
  { host, record, container, transfer, logger }: SourceContext,
  inspect: ContainerInspect,
  { postCopy, allowFlags }: SwitchOrder,
  signal: AbortSignal,
): Promise<SwitchTarget> {
  const { docker } = host;
  const { dockerId, migrationId, containerName } = record.entry;
  if (!inspect.State.Running || inspect.State.Paused) {
    throw new DrayError("PREFLIGHT", `container ${containerName} is ${inspect.State.Status}, not running`, {
      node: host.node,
    });
  }
  if (transfer.descriptors !== (await container.descriptors())) {
    throw new DrayError("PREFLIGHT", `container ${containerName} was restarted while its files were sent`, {
      node: host.node,
      remedy: "Migrate it again.",
    });
  }
  const cgroup = await container.cgroup();
  const endpoints = endpointsOf(inspect, await docker.listNetworks({ signal }));
  const bridges = endpoints.filter(({ driver }) => driver === "bridge").map(({ network }) => network);
  const aligned = await processesWithAlignedStack(cgroup);
  if (aligned.length > 0) {
    const message = "a stack pointer is at the beginning of a page: CRIU leaves nothing of these processes where it is";
    logger.info({ pids: aligned }, message);
  }
  const memoryBytes = await dumpBytesLimitOf(cgroup);
  const broughtBytes = await broughtBytesOf(cgroup, aligned);
  const directories = await transfer.makeDirectories();
  return {
    dockerId,
    migrationId,
    pid: inspect.State.Pid,
    cgroup,
    parents: macsByParent(endpoints),
    bridges: allowFlags.includes(ALLOW_CONNECTION_LOSS) ? [] : bridges,
    layer: transfer.layer ?? new SentTree(await layerDirectory(docker, dockerId, signal)),
    tmpfs: transfer.tmpfs,
    memoryBytes,
    known: transfer.known,
    tracking: transfer.sentMemory?.tracking ?? null,
    throttle: transfer.throttle,
    postCopy,
    broughtBytes,
    bandwidthBytesPerSecond: transfer.target?.bandwidthBytesPerSecond ?? 0,
    ...directories,
  };
}

/** CRIU is told by mount points what it is to leave out: what is mounted there now must be what was sent. */
export async function demandSameTmpfs(pid: number, sent: readonly SentTmpfs[], node: string): Promise<void> {
  if (sent.length === 0) return;
  const now = carriedTmpfs(await mountsOf(pid), []);
  for (const { mount } of sent) {
    if (now.some(({ mountPoint, device }) => mountPoint === mount.mountPoint && device === mount.device)) continue;
    throw new DrayError("PREFLIGHT", `what is mounted on ${mount.mountPoint} has changed while it was sent`, {
      node,
      remedy: "Migrate the container again when its mounts stay as they are.",
    });
  }
}

/** All that the checks of a source look at. */
import type { HostFacts } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { ContainerInspect, DockerInfo, ExecInspect, NetworkInspect } from "../docker/types.ts";
import type { FileWatch } from "../host/file-watches.ts";
import type { Mount } from "../host/mountinfo.ts";
import type { SharedFile } from "../shared-storage/shared-files.ts";
import type { DescribedMount } from "../shared-storage/storage.ts";
import type { NetworkNamespace } from "./network-namespace.ts";
import type { ProcessFacts } from "./process-facts.ts";
import type { UnixSocket } from "./socket-tables.ts";

export interface SourceFacts {
  readonly inspect: ContainerInspect;
  readonly info: DockerInfo;
  readonly host: HostFacts;
  /** Docker's networks of the container. */
  readonly networks: readonly NetworkInspect[];
  readonly execs: readonly ExecInspect[];
  readonly mounts: readonly DescribedMount[];
  /** What the container sees mounted; empty if it does not run. */
  readonly mountTable: readonly Mount[];
  /** Where Docker mounts single things in it, symbolic links of the container followed; empty if it does not run. */
  readonly mountPointsOfDocker: readonly string[];
  readonly processes: readonly ProcessFacts[];
  /** What CRIU has against dumping processes of other users than root; empty if it can, or there are none. */
  readonly foreignObjection: string;
  /** What processes watch with inotify and has no path by which CRIU could find it again. */
  readonly unresolvedWatches: readonly FileWatch[];
  /** Files that processes have open, and on which somebody holds a lock of which the kernel shows nothing. */
  readonly remotelyLocked: readonly SharedFile[];
  readonly unixSockets: readonly UnixSocket[];
  readonly mptcpSockets: readonly { readonly state: string; readonly local: string }[];
  /** TCP connections to outside of the container. */
  readonly establishedConnections: number;
  /** Empty if it does not run, or has no network namespace to itself. */
  readonly networkNamespace: NetworkNamespace;
  readonly pipes: PipeFacts;
}

export interface PipeFacts {
  readonly maxSizeBytes: number;
  /** This process may go beyond. */
  readonly mayExceed: boolean;
}

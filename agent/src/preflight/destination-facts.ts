/** All that the checks of a destination look at. */
import type { HostFacts, SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { ContainerInspect, ContainerSummary, DockerInfo, NetworkInspect } from "../docker/types.ts";
import type { Disk } from "../host/disk.ts";
import type { CpuVerdict } from "../criu/cpuinfo.ts";
import type { TransitRoom } from "../migration/transit-directory.ts";
import type { AddressAnswer } from "./address-probe.ts";
import type { ListeningPort } from "./socket-tables.ts";
import type { PipeFacts } from "./source-facts.ts";
import type { DescribedMount, Storage } from "../shared-storage/storage.ts";

export interface DestinationFacts {
  readonly description: SourceDescription;
  readonly sourceNode: string;
  readonly inspect: ContainerInspect;
  readonly sourceNetworks: readonly NetworkInspect[];
  readonly sourceMounts: readonly DescribedMount[];
  readonly sourceHost: HostFacts;

  readonly info: DockerInfo;
  readonly host: HostFacts;
  /** Networks of this host, with what is attached to them. */
  readonly networks: readonly NetworkInspect[];
  readonly containers: readonly ContainerSummary[];
  readonly listening: readonly ListeningPort[];
  readonly imagePresent: boolean;
  /** CRIU's word on the source's processor and this one. */
  readonly cpu: CpuVerdict;
  readonly memoryAvailableBytes: number;
  /** Where Docker keeps its data. */
  readonly dockerDisk: Disk;
  /** For the images in transit. */
  readonly transit: TransitRoom;
  /** What lies here under each of sourceMounts, in their order; undefined if nothing does. */
  readonly storage: readonly (Storage | undefined)[];
  /** Who answered for the addresses of the container. */
  readonly answers: readonly AddressAnswer[];
  /** Addresses for which could not be asked, and why. */
  readonly unasked: readonly { readonly address: string; readonly why: string }[];
  readonly pipes: PipeFacts;
  /** Network sysctls that the container was given and this host's kernel does not have. */
  readonly missingSysctls: readonly string[];
}

/** Docker's answers as far as Drayage reads them (API 1.44); what it does not read passes through as JSON. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export interface ContainerState {
  /** created, running, paused, restarting, removing, exited, dead. */
  readonly Status: string;
  readonly Running: boolean;
  readonly Paused: boolean;
  readonly Restarting: boolean;
  readonly Dead?: boolean;
  /** Pid of the container's init in the host's pid namespace; 0 if it does not run. */
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error?: string;
  readonly StartedAt: string;
  readonly FinishedAt: string;
}

export interface RestartPolicy {
  readonly Name: string;
  readonly MaximumRetryCount?: number;
}

export interface MountPoint {
  readonly Type: string;
  readonly Name?: string;
  readonly Source?: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode?: string;
  readonly RW: boolean;
  readonly Propagation?: string;
}

export interface EndpointSettings {
  readonly IPAMConfig?: {
    readonly IPv4Address?: string;
    readonly IPv6Address?: string;
    readonly LinkLocalIPs?: readonly string[];
  } | null;
  readonly Links?: readonly string[] | null;
  readonly Aliases?: readonly string[] | null;
  readonly MacAddress?: string;
  readonly DriverOpts?: { readonly [key: string]: string } | null;
  readonly NetworkID?: string;
  readonly EndpointID?: string;
  readonly Gateway?: string;
  readonly IPAddress?: string;
  readonly IPPrefixLen?: number;
  readonly IPv6Gateway?: string;
  readonly GlobalIPv6Address?: string;
  readonly GlobalIPv6PrefixLen?: number;
  readonly GwPriority?: number;
}

/** `docker inspect` of a container. */
export interface ContainerInspect {
  readonly Id: string;
  readonly Created: string;
  readonly Path: string;
  readonly Args: readonly string[];
  readonly State: ContainerState;
  /** Image id: config digest with the graph drivers, manifest digest with the containerd store. */
  readonly Image: string;
  /** With the leading slash. */
  readonly Name: string;
  readonly RestartCount: number;
  readonly Driver?: string;
  readonly MountLabel?: string;
  readonly ProcessLabel?: string;
  readonly AppArmorProfile?: string;
  readonly ExecIDs?: readonly string[] | null;
  readonly HostConfig: JsonObject;
  readonly Config: JsonObject;
  readonly GraphDriver?: { readonly Name: string; readonly Data?: { readonly [key: string]: string } | null } | null;
  readonly Mounts?: readonly MountPoint[];
  readonly NetworkSettings: {
    readonly SandboxKey?: string;
    readonly Ports?: {
      readonly [port: string]: readonly { readonly HostIp: string; readonly HostPort: string }[] | null;
    };
    readonly Networks: { readonly [network: string]: EndpointSettings };
  };
  readonly SizeRw?: number;
}

export interface ContainerSummary {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly ImageID: string;
  readonly State: string;
  readonly Labels: { readonly [label: string]: string };
  readonly Ports: readonly {
    readonly IP?: string;
    readonly PrivatePort: number;
    readonly PublicPort?: number;
    readonly Type: string;
  }[];
  readonly NetworkSettings?: { readonly Networks: { readonly [network: string]: EndpointSettings } };
}

export interface DockerVersion {
  readonly Version: string;
  readonly ApiVersion: string;
  readonly Components?: readonly { readonly Name: string; readonly Version: string }[];
}

export interface DockerInfo {
  readonly ID: string;
  readonly Name: string;
  readonly ServerVersion: string;
  readonly Driver: string;
  readonly DriverStatus?: readonly (readonly [string, string])[] | null;
  readonly DockerRootDir: string;
  /** "systemd", "cgroupfs" or "none". */
  readonly CgroupDriver: string;
  /** "1" or "2". */
  readonly CgroupVersion?: string;
  readonly SecurityOptions?: readonly string[] | null;
  readonly Runtimes?: { readonly [name: string]: { readonly path?: string } } | null;
  readonly DefaultRuntime: string;
  readonly MemTotal: number;
  readonly NCPU: number;
  readonly Containers: number;
  readonly ContainersRunning: number;
}

export interface NetworkInspect {
  readonly Name: string;
  readonly Id: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly EnableIPv6?: boolean;
  readonly Internal?: boolean;
  readonly Attachable?: boolean;
  readonly IPAM?: {
    readonly Driver?: string;
    readonly Config?:
      | readonly { readonly Subnet?: string; readonly Gateway?: string; readonly IPRange?: string }[]
      | null;
  };
  readonly Containers?: {
    readonly [id: string]: {
      readonly Name: string;
      readonly MacAddress: string;
      readonly IPv4Address: string;
      readonly IPv6Address: string;
    };
  } | null;
  readonly Options?: { readonly [option: string]: string } | null;
}

export interface ImageInspect {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  readonly Architecture: string;
  readonly Os: string;
  readonly Size: number;
  readonly RootFS: { readonly Type: string; readonly Layers?: readonly string[] };
  readonly Config?: JsonObject | null;
}

export interface VolumeInspect {
  readonly Name: string;
  readonly Driver: string;
  readonly Mountpoint: string;
  readonly Options?: { readonly [option: string]: string } | null;
  readonly Labels?: { readonly [label: string]: string } | null;
}

export interface ExecInspect {
  readonly ID: string;
  readonly Running: boolean;
  readonly Pid: number;
  readonly ProcessConfig?: { readonly entrypoint: string; readonly arguments?: readonly string[] | null };
}

export interface DockerEvent {
  /** container, network, image, volume, daemon … */
  readonly Type: string;
  /** start, die, pause, rename …; for exec "exec_start: …". */
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: { readonly [key: string]: string } };
  readonly timeNano: number;
}

/** Body of POST /containers/create, with its name (a query parameter) beside it. */
export interface CreateRequest {
  /** Without the leading slash. */
  readonly name: string;
  readonly body: JsonObject;
}

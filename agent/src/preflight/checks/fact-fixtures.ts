/** Facts of a source and a destination between which everything is well, for tests to spoil one at a time. */
import { readFileSync } from "node:fs";
import { HostFacts, SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import type { ContainerInspect, DockerInfo, JsonObject, NetworkInspect } from "../../docker/types.ts";
import type { Mount } from "../../host/mountinfo.ts";
import type { DestinationFacts } from "../destination-facts.ts";
import { NOTHING_SET_UP, type Route } from "../network-namespace.ts";
import type { SourceFacts } from "../source-facts.ts";

const plain = JSON.parse(
  readFileSync(new URL("../../docker/fixtures/inspect-plain.json", import.meta.url), "utf8"),
) as ContainerInspect;

export const ADDRESS = "10.77.0.9";
export const MAC = "02:42:0a:4d:00:09";

export const lan: NetworkInspect = {
  Name: "lan",
  Id: "1".repeat(64),
  Driver: "macvlan",
  Scope: "local",
  IPAM: { Config: [{ Subnet: "10.77.0.0/24" }] },
  Options: { parent: "eth1" },
};
export const bridge: NetworkInspect = { Name: "bridge", Id: "2".repeat(64), Driver: "bridge", Scope: "local" };

export const host = HostFacts.fromPartial({
  kernel: "6.18.4-amd64",
  criuVersion: 40_201,
  architecture: "x86_64",
  cpuFlags: ["avx2", "fpu", "tsc_adjust"],
  cgroupVersion: "v2",
  cgroupDriver: "systemd",
  criuFeatures: ["pidfd_store"],
  dockerVersion: "28.5.2",
  runcVersion: "1.3.6",
  securityProfiles: ["apparmor:docker-default"],
});

export const info: DockerInfo = {
  ID: "id",
  Name: "n1",
  ServerVersion: "28.5.2",
  Driver: "overlay2",
  DockerRootDir: "/var/lib/docker",
  CgroupDriver: "systemd",
  SecurityOptions: ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
  Runtimes: {
    runc: { path: "runc" },
    drayage: { path: "/usr/lib/drayage/drayage-runc" },
    "io.containerd.runc.v2": { path: "runc" },
  },
  DefaultRuntime: "runc",
  MemTotal: 8e9,
  NCPU: 2,
  Containers: 1,
  ContainersRunning: 1,
};

export function mount(mountPoint: string, type: string, more: Partial<Mount> = {}): Mount {
  return {
    id: 100,
    parentId: 1,
    device: "0:50",
    root: "/",
    mountPoint,
    options: ["rw"],
    propagation: [],
    type,
    source: type,
    superOptions: [],
    ...more,
  };
}

export function route(more: Partial<Route>): Route {
  return { destination: "10.1.0.0/16", gateway: "", device: "eth0", table: "main", multipath: false, ...more };
}

const inspect: ContainerInspect = {
  ...plain,
  AppArmorProfile: "docker-default",
  HostConfig: { ...plain.HostConfig, NetworkMode: "lan" },
  NetworkSettings: { Ports: {}, Networks: { lan: { IPAddress: ADDRESS, MacAddress: MAC, Gateway: "10.77.0.1" } } },
};

export const WATCH = { device: "0:50", inode: "77" };

export const goodSource: SourceFacts = {
  inspect,
  info,
  host,
  networks: [lan],
  execs: [],
  mounts: [],
  mountTable: [mount("/", "overlay"), mount("/proc", "proc"), mount("/dev/shm", "tmpfs"), mount("/etc/hosts", "ext4")],
  mountPointsOfDocker: ["/sbin/docker-init", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"],
  processes: [
    {
      pid: 7,
      name: "server",
      foreign: true,
      usesIoUring: false,
      watches: [WATCH],
      locks: [],
      socketInodes: [10, 11],
    },
  ],
  foreignObjection: "",
  unresolvedWatches: [],
  remotelyLocked: [],
  unixSockets: [{ kind: "u_str", state: "ESTAB", path: "*", inode: 10, peerInode: 11 }],
  mptcpSockets: [],
  establishedConnections: 3,
  networkNamespace: {
    ...NOTHING_SET_UP,
    routes: [route({ destination: "default", gateway: "10.77.0.1" })],
    interfaces: [
      { name: "lo", mac: "00:00:00:00:00:00", up: true, addresses: [] },
      { name: "eth0", mac: MAC, up: true, addresses: [ADDRESS] },
      { name: "tunl0", mac: "0.0.0.0", up: false, addresses: [] },
    ],
  },
  pipes: { maxSizeBytes: 1_048_576, mayExceed: true },
};

export const goodDestination: DestinationFacts = {
  description: SourceDescription.fromPartial({
    imageDigest: "sha256:1",
    imageTags: ["app:1"],
    memoryBytes: 100_000_000,
    layerBytes: 1_000_000,
    imageBytes: 300_000_000,
    tmpfsBytes: 50_000_000,
  }),
  sourceNode: "n1",
  inspect,
  sourceNetworks: [lan],
  sourceMounts: [],
  sourceHost: host,
  info,
  host,
  networks: [lan, bridge],
  containers: [],
  listening: [],
  imagePresent: true,
  cpu: { compared: true, objection: "" },
  memoryAvailableBytes: 1e9,
  dockerDisk: { device: 1, freeBytes: 1e9 },
  transit: { neededBytes: 2e8, bases: ["/run/drayage", "/var/lib/drayage"], base: "/run/drayage", device: 2 },
  storage: [],
  answers: [{ address: ADDRESS, device: "eth1", mac: MAC }],
  unasked: [],
  pipes: { maxSizeBytes: 1_048_576, mayExceed: true },
  missingSysctls: [],
};

/** The container with other settings. */
export function withHostConfig(settings: JsonObject): ContainerInspect {
  return { ...inspect, HostConfig: { ...inspect.HostConfig, ...settings } };
}

export function withState(state: Partial<ContainerInspect["State"]>): ContainerInspect {
  return { ...inspect, State: { ...inspect.State, ...state } };
}

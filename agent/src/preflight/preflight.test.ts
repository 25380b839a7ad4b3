import { type HostFacts, SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { describe, expect, test } from "vitest";
import { runChecks } from "./check.ts";
import {
  ADDRESS,
  bridge,
  goodDestination,
  goodSource,
  host,
  info,
  lan,
  MAC,
  mount,
  route,
  WATCH,
  withHostConfig,
  withState,
} from "./checks/fact-fixtures.ts";
import type { DestinationFacts } from "./destination-facts.ts";
import { acceptFlags, refuses, Severity } from "./finding.ts";
import { type NetworkNamespace, NOTHING_SET_UP } from "./network-namespace.ts";
import { DESTINATION_CHECKS, SOURCE_CHECKS } from "./preflight.ts";
import type { SourceFacts } from "./source-facts.ts";

const NFS = { fileSystem: "nfs4", source: "10.0.0.5:/srv", path: "/data" };
const { inspect } = goodSource;
const [process] = goodSource.processes;
const hostWith = (facts: Partial<HostFacts>): HostFacts => ({ ...host, ...facts });
const processWith = (facts: object) => [{ ...(process ?? expect.fail()), ...facts }];
const mounted = (path: string, type: string, facts: object = {}): Partial<SourceFacts> => ({
  mountTable: [mount(path, type, facts)],
  mountPointsOfDocker: [path],
});
const inside = (state: Partial<NetworkNamespace>) => ({ networkNamespace: { ...NOTHING_SET_UP, ...state } });
const bind = { Type: "bind", Source: "/srv/data", Destination: "/data", RW: true };
const published = (HostIp: string) => ({
  ...inspect,
  NetworkSettings: { ...inspect.NetworkSettings, Ports: { "80/tcp": [{ HostIp, HostPort: "8080" }], "81/tcp": null } },
});

const source: readonly [code: string, change: Partial<SourceFacts>][] = [
  ["criu-missing", { host: hostWith({ criuVersion: 0 }) }],
  ["criu-too-old", { host: hostWith({ criuVersion: 40_101 }) }],
  ["criu-too-old", { host: hostWith({ kernel: "6.12.1", criuVersion: 31_600 }) }],
  ["criu-check-failed", { host: hostWith({ criuObjection: "Error (criu/cr-check.c:1): no kcmp" }) }],
  ["runc-missing", { host: hostWith({ runcVersion: "" }) }],
  ["docker-too-old", { host: hostWith({ dockerVersion: "24.0.7" }) }],
  ["rootless", { info: { ...info, SecurityOptions: ["name=seccomp,profile=builtin", "name=rootless"] } }],
  ["userns-remap", { info: { ...info, SecurityOptions: ["name=userns"] } }],
  ["pipe-max-size", { pipes: { maxSizeBytes: 1_048_576, mayExceed: false } }],
  ["unsupported-runtime", { inspect: withHostConfig({ Runtime: "kata" }) }],
  ["unsupported-runtime", { info: { ...info, Runtimes: { runc: { path: "/usr/bin/crun" } } } }],
  ["own-userns", { inspect: withHostConfig({ UsernsMode: "private" }) }],
  ["not-running", { inspect: withState({ Status: "exited", Running: false, Pid: 0 }) }],
  ["paused", { inspect: withState({ Status: "paused", Paused: true }) }],
  ["restarting", { inspect: withState({ Status: "restarting", Restarting: true }) }],
  ["privileged", { inspect: withHostConfig({ Privileged: true }) }],
  ["host-network", { inspect: withHostConfig({ NetworkMode: "host" }) }],
  ["host-pid", { inspect: withHostConfig({ PidMode: "host" }) }],
  ["host-ipc", { inspect: withHostConfig({ IpcMode: "host" }) }],
  ["shareable-ipc", { inspect: withHostConfig({ IpcMode: "shareable" }) }],
  ["host-uts", { inspect: withHostConfig({ UTSMode: "host" }) }],
  ["joined-namespace", { inspect: withHostConfig({ NetworkMode: "container:0123" }) }],
  ["devices", { inspect: withHostConfig({ Devices: [{ PathOnHost: "/dev/fuse" }] }) }],
  ["devices", { inspect: withHostConfig({ DeviceCgroupRules: ["c 1:3 r"] }) }],
  ["gpus", { inspect: withHostConfig({ DeviceRequests: [{ Count: -1, Capabilities: [["gpu"]] }] }) }],
  ["swarm-task", { inspect: { ...inspect, Config: { Labels: { "com.docker.swarm.task.id": "x" } } } }],
  ["exec-sessions", { execs: [{ ID: "abc", Running: true, Pid: 9 }] }],
  ["local-storage", { mounts: [bind], ...mounted("/data", "ext4") }],
  ["local-storage", { mounts: [{ ...bind, Type: "volume", Storage: { ...NFS, fileSystem: "ext4" } }] }],
  ["unknown-mount-type", { mountTable: [mount("/dev/odd", "fuse.sshfs")] }],
  ["mount-made-inside", { mountTable: [mount("/", "overlay"), mount("/mnt", "tmpfs")] }],
  ["overlay-metacopy", { mountTable: [mount("/", "overlay", { superOptions: ["rw", "metacopy=on"] })] }],
  ["connections-behind-bridge", { networks: [lan, bridge], establishedConnections: 2 }],
  ["bridge-network", { networks: [bridge], establishedConnections: 0 }],
  ["published-ports", { inspect: published("0.0.0.0") }],
  ["other-users-processes", { foreignObjection: "CRIU may not read their limits" }],
  ["io-uring", { processes: processWith({ usesIoUring: true }) }],
  ["mptcp", { mptcpSockets: [{ state: "LISTEN", local: "*:8080" }] }],
  [
    "lock-on-shared-mount",
    {
      processes: processWith({ locks: [{ kind: "FLOCK", path: "/data/lock", mountId: 42 }] }),
      mounts: [{ ...bind, Storage: NFS }],
      ...mounted("/data", "nfs4", { id: 42, source: "10.0.0.5:/srv" }),
    },
  ],
  [
    "lock-on-shared-mount",
    {
      remotelyLocked: [
        { pid: 7, fd: 3, link: "/proc/7/fd/3", path: "/data/lock", writable: true, fileSystem: "fuse.glusterfs" },
      ],
    },
  ],
  ["unix-socket-outside", { unixSockets: [{ kind: "u_str", state: "ESTAB", path: "*", inode: 10, peerInode: 99 }] }],
  ["packet-filter-inside", inside({ filters: [{ table: "inet mine", rules: 2 }] })],
  ["traffic-control-inside", inside({ qdiscs: [{ kind: "tbf", device: "eth0" }] })],
  ["routes-inside", inside({ routes: [route({ gateway: "10.77.0.1" })] })],
  ["routes-inside", inside({ routes: [route({ destination: "default", gateway: "10.77.0.2" })] })],
  ["routes-inside", inside({ routes: [route({ destination: "default", gateway: "10.77.0.1", table: "7" })] })],
  ["routes-inside", inside({ routes: [route({ destination: "default", device: "", multipath: true })] })],
  ["routing-rules-inside", inside({ policies: [{ priority: 100, table: "7" }] })],
  ["neighbours-inside", inside({ neighbours: [{ address: "10.77.0.7", device: "eth0" }] })],
  ["virtual-services-inside", inside({ virtualServices: ["TCP 0A4D0009:0050"] })],
  ["ipsec-inside", inside({ ipsec: ["src 10.1.0.0/16 dst 10.2.0.0/16"] })],
  ["sysctls-inside", inside({ sysctls: [{ name: "net.ipv4.tcp_keepalive_time", value: "600", fresh: "7200" }] })],
  ["interfaces-inside", inside({ interfaces: [{ name: "wg0", mac: "", up: true, addresses: ["10.8.0.2"] }] })],
  ["addresses-inside", inside({ interfaces: [{ name: "eth0", mac: MAC, up: true, addresses: ["10.77.0.200"] }] })],
  ["addresses-inside", inside({ interfaces: [{ name: "lo", mac: "", up: true, addresses: ["10.77.0.200"] }] })],
  ["inotify-without-path", { unresolvedWatches: [WATCH] }],
];

describe("on the source", () => {
  test("nothing is found where all is well", () => {
    expect(runChecks(SOURCE_CHECKS, goodSource)).toEqual([]);
  });

  test.each(source)("%s %#", (code, change) => {
    const findings = runChecks(SOURCE_CHECKS, { ...goodSource, ...change });
    expect(findings.map((finding) => finding.code)).toEqual([code]);
    expect(findings[0]?.message).toMatch(/^\S.*\.$/);
    expect(findings[0]?.remedy).toMatch(/^\S.*\.$/);
  });

  test("every check has a case", () => {
    const codes = new Set(source.map(([code]) => code));
    expect(SOURCE_CHECKS.map(({ code }) => code).filter((code) => !codes.has(code))).toEqual([]);
  });

  test.each<[string, Partial<SourceFacts>]>([
    ["shared storage", { mounts: [{ ...bind, Storage: NFS }], ...mounted("/data", "nfs4") }],
    ["tmpfs mounts", { mounts: [{ ...bind, Type: "tmpfs", Destination: "/t" }], ...mounted("/t", "tmpfs") }],
    ["Docker's init", mounted("/usr/sbin/docker-init", "ext4")],
    ["a lock in the container", { processes: processWith({ locks: [{ kind: "FLOCK", path: "/l", mountId: 100 }] }) }],
    ["an old CRIU on an old kernel", { host: hostWith({ kernel: "6.12.48+deb13-amd64", criuVersion: 40_101 }) }],
    [
      "a health check under way",
      {
        inspect: { ...inspect, Config: { Healthcheck: { Test: ["CMD-SHELL", "ping db"] } } },
        execs: [
          { ID: "abc", Running: true, Pid: 9, ProcessConfig: { entrypoint: "/bin/sh", arguments: ["-c", "ping db"] } },
        ],
      },
    ],
    [
      "an overlay network's way out",
      {
        networks: [{ ...lan, Driver: "overlay" }],
        ...inside({
          routes: [route({ destination: "default", gateway: "172.18.0.1", device: "eth1" })],
          interfaces: [{ name: "eth1", mac: "02:42:ac:12:00:03", up: true, addresses: ["172.18.0.3"] }],
        }),
      },
    ],
    ["the route to a gateway elsewhere", inside({ routes: [route({ destination: "10.77.0.1" })] })],
    [
      "sysctls that Docker gave",
      {
        inspect: withHostConfig({ Sysctls: { "net.ipv4.ip_local_port_range": "20000   30000" } }),
        ...inside({
          sysctls: [
            { name: "net.ipv4.ip_local_port_range", value: "20000 30000", fresh: "32768 60999" },
            { name: "net.ipv4.ip_unprivileged_port_start", value: "0", fresh: "1024" },
            { name: "net.ipv4.ping_group_range", value: "0 2147483647", fresh: "1 0" },
          ],
        }),
      },
    ],
    ["the runtime drayage", { inspect: withHostConfig({ Runtime: "drayage" }) }],
    ["datagrams to the log", { unixSockets: [{ kind: "u_dgr", state: "ESTAB", path: "*", inode: 10, peerInode: 99 }] }],
  ])("%s is no finding", (_, change) => {
    expect(runChecks(SOURCE_CHECKS, { ...goodSource, ...change })).toEqual([]);
  });
});

/** A container with a label, on hosts in these modes. */
function labelled(source: string, here = source): Partial<DestinationFacts> {
  return {
    inspect: { ...inspect, AppArmorProfile: "", ProcessLabel: "system_u:system_r:container_t:s0" },
    sourceHost: hostWith({ securityProfiles: [`selinux:${source}`] }),
    host: hostWith({ securityProfiles: [`selinux:${here}`] }),
  };
}

const destination: readonly [code: string, change: Partial<DestinationFacts>][] = [
  ["runtime-not-registered", { info: { ...info, Runtimes: { runc: { path: "runc" } } } }],
  ["architecture-differs", { host: hostWith({ architecture: "aarch64", cpuFlags: [] }) }],
  ["cpu-differs", { host: hostWith({ cpuFlags: ["fpu"] }) }],
  ["cpu-differs", { cpu: { compared: true, objection: "CPU xfeatures has unsupported bits (0x3f00)" } }],
  ["cpu-not-compared", { cpu: { compared: false, objection: "" } }],
  ["sysctl-missing", { missingSysctls: ["net.netfilter.nf_conntrack_max"] }],
  ["cgroup-version-differs", { host: hostWith({ cgroupVersion: "v1" }) }],
  ["cgroup-driver-differs", { host: hostWith({ cgroupDriver: "cgroupfs" }) }],
  [
    "criu-older-than-source",
    { host: hostWith({ kernel: "6.12.0", criuVersion: 40_101 }), sourceHost: hostWith({ kernel: "6.12.0" }) },
  ],
  ["criu-feature-missing", { sourceHost: hostWith({ criuFeatures: ["timens"] }) }],
  ["criu-features-differ", { sourceHost: hostWith({ criuFeatures: ["lazy_pages"] }) }],
  ["kernel-older", { host: hostWith({ kernel: "6.17.9" }) }],
  ["security-profile-missing", { inspect: { ...inspect, AppArmorProfile: "mine" } }],
  ["security-profile-missing", { host: hostWith({ securityProfiles: [] }) }],
  ["security-profile-missing", { inspect: { ...inspect, ProcessLabel: "system_u:system_r:container_t:s0" } }],
  ["security-profile-missing", { ...labelled("enforcing"), host: hostWith({ securityProfiles: ["apparmor:x"] }) }],
  ["security-profile-missing", labelled("enforcing", "permissive")],
  ["storage-differs", { sourceMounts: [{ ...bind, Storage: NFS }], storage: [undefined] }],
  ["storage-differs", { sourceMounts: [{ ...bind, Storage: NFS }], storage: [{ ...NFS, source: "10.0.0.6:/srv" }] }],
  ["network-missing", { networks: [bridge] }],
  ["network-differs", { networks: [{ ...lan, Driver: "overlay" }] }],
  ["network-differs", { networks: [{ ...lan, IPAM: { Config: [{ Subnet: "10.78.0.0/24" }] } }] }],
  [
    "address-taken",
    {
      networks: [
        { ...lan, Containers: { x: { Name: "x", MacAddress: MAC, IPv4Address: `${ADDRESS}/24`, IPv6Address: "" } } },
      ],
    },
  ],
  ["address-answered-by-another", { answers: [{ address: ADDRESS, device: "eth1", mac: "02:00:00:00:00:01" }] }],
  ["address-not-checked", { answers: [], unasked: [{ address: ADDRESS, why: "no interface" }] }],
  ["address-unanswered", { answers: [{ address: ADDRESS, device: "eth1", mac: undefined }] }],
  ["port-taken", { inspect: published("0.0.0.0"), listening: [{ protocol: "tcp", address: "127.0.0.1", port: 8080 }] }],
  ["port-taken", { inspect: published("10.1.1.1"), listening: [{ protocol: "tcp", address: "*", port: 8080 }] }],
  [
    "name-taken",
    {
      containers: [{ Id: "9", Names: [inspect.Name], Image: "", ImageID: "", State: "exited", Labels: {}, Ports: [] }],
    },
  ],
  ["memory-short", { memoryAvailableBytes: 200_000_000 }],
  ["disk-short", { dockerDisk: { device: 1, freeBytes: 60_000_000 } }],
  ["disk-short", { transit: { ...goodDestination.transit, neededBytes: 950_000_000, device: 1 } }],
  ["images-do-not-fit", { transit: { neededBytes: 9e9, bases: ["/var/lib/drayage"], base: null, device: null } }],
  ["image-absent", { imagePresent: false }],
];

describe("on the destination", () => {
  test("nothing is found where all is well", () => {
    expect(runChecks(DESTINATION_CHECKS, goodDestination)).toEqual([]);
  });

  test.each(destination)("%s %#", (code, change) => {
    const findings = runChecks(DESTINATION_CHECKS, { ...goodDestination, ...change });
    expect(findings.map((finding) => finding.code)).toEqual([code]);
    expect(findings[0]?.message).toMatch(/^\S.*\.$/);
    expect(findings[0]?.remedy).toMatch(/^\S.*\.$/);
  });

  test("every check of its own has a case", () => {
    const codes = new Set([...source, ...destination].map(([code]) => code));
    expect(DESTINATION_CHECKS.map(({ code }) => code).filter((code) => !codes.has(code))).toEqual([]);
  });

  test.each<[string, Partial<DestinationFacts>]>([
    ["the same export", { sourceMounts: [{ ...bind, Storage: NFS }], storage: [{ ...NFS, fileSystem: "nfs" }] }],
    ["more memory than needed", { description: SourceDescription.fromPartial({ memoryBytes: 1 }) }],
    ["a flag that no program sees", { host: hostWith({ cpuFlags: ["avx2", "fpu"] }) }],
    ["SELinux that enforces on both hosts", labelled("enforcing")],
    ["SELinux that warns on both hosts", labelled("permissive")],
    ["SELinux that enforces here only", labelled("permissive", "enforcing")],
    [
      "an AppArmor profile of one's own that is loaded",
      {
        inspect: { ...inspect, AppArmorProfile: "mine" },
        host: hostWith({ securityProfiles: ["apparmor:docker-default", "apparmor:mine"] }),
      },
    ],
    [
      "Docker's own AppArmor profile, which the source could not load either",
      {
        inspect: { ...inspect, AppArmorProfile: "docker-default" },
        host: hostWith({ securityProfiles: [] }),
        sourceHost: hostWith({ securityProfiles: [] }),
      },
    ],
    ["a container that no AppArmor profile holds", { inspect: { ...inspect, AppArmorProfile: "unconfined" } }],
    ["another port", { inspect: published(""), listening: [{ protocol: "udp", address: "*", port: 8080 }] }],
  ])("%s is no finding", (_, change) => {
    expect(runChecks(DESTINATION_CHECKS, { ...goodDestination, ...change })).toEqual([]);
  });
});

/** What is found of the destination, but not that the image is not there. */
const shortOf = (change: Partial<DestinationFacts>) =>
  runChecks(DESTINATION_CHECKS, { ...goodDestination, ...change }).filter(({ code }) => code !== "image-absent");

test("what is short is reckoned up: an image that is not there, and images in transit on the same file system", () => {
  const dockerDisk = { device: 1, freeBytes: 500 * 2 ** 20 };
  const onSame = { neededBytes: 200 * 2 ** 20, bases: ["/var/lib/drayage"], base: "/var/lib/drayage", device: 1 };
  const description = { ...goodDestination.description, layerBytes: 2 ** 20, imageBytes: 150 * 2 ** 20 };
  expect(shortOf({ description, dockerDisk, imagePresent: false })).toEqual([]);
  expect(shortOf({ description, dockerDisk, transit: onSame })).toEqual([]);
  const [found, ...more] = shortOf({ description, dockerDisk, imagePresent: false, transit: onSame });
  expect(more).toEqual([]);
  expect(found).toMatchObject({
    code: "disk-short",
    message:
      "The container needs 565 MiB (1 MiB for its writable layer, 300 MiB for loading its image, 200 MiB for the images of its memory below /var/lib/drayage, 64 MiB for everything else) on the file system of /var/lib/docker, and 500 MiB are free there.",
  });
});

test("what lies in its tmpfs takes memory, too", () => {
  const description = SourceDescription.fromPartial({ memoryBytes: 100 * 2 ** 20, tmpfsBytes: 30 * 2 ** 20 });
  expect(shortOf({ description, memoryAvailableBytes: 194 * 2 ** 20 })).toEqual([]);
  expect(shortOf({ description, memoryAvailableBytes: 193 * 2 ** 20 })[0]?.message).toBe(
    "The container needs 194 MiB (100 MiB for its processes, 30 MiB for what lies in its tmpfs, 64 MiB for everything else) of memory, and 193 MiB are free here.",
  );
});

test("a flag makes a note of what it accepts, and of nothing else", () => {
  const facts = { ...goodSource, networks: [bridge], inspect: withHostConfig({ Privileged: true }) };
  const findings = runChecks(SOURCE_CHECKS, facts);
  expect(refuses(findings)).toBe(true);
  const accepted = acceptFlags(findings, ["--allow-connection-loss"]);
  expect(accepted.map(({ code, severity }) => [code, severity])).toEqual([
    ["privileged", Severity.SEVERITY_BLOCKING],
    ["connections-behind-bridge", Severity.SEVERITY_NOTE],
  ]);
  expect(refuses(accepted)).toBe(true);
  expect(refuses(accepted.slice(1))).toBe(false);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readFileSync } from "node:fs";
import { carryConfiguration, DRAYAGE_RUNTIME } from "./carry-configuration.ts";
import { carryPorts, networkMode } from "./carry-networks.ts";
import type { ContainerInspect, CreateRequest, EndpointSettings, Json, JsonObject, NetworkInspect } from "./types.ts";

const fixture = (name: string): ContainerInspect =>
  JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), "utf8")) as ContainerInspect;
const full = fixture("inspect-full");
const plain = fixture("inspect-plain");
const lan: NetworkInspect = { Name: "lan", Id: "1a2b", Driver: "macvlan", Scope: "local" };
const br1: NetworkInspect = { Name: "br1", Id: "3c4d", Driver: "bridge", Scope: "local" };
const networks = [lan, br1];
const image = "sha256:0123";

const carry = (inspect: ContainerInspect) => carryConfiguration(inspect, { image, networks });
const hostConfigOf = (request: CreateRequest) => request.body.HostConfig as JsonObject;
const endpointsOf = (request: CreateRequest) =>
  (request.body.NetworkingConfig as unknown as { EndpointsConfig: Record<string, EndpointSettings> }).EndpointsConfig;

/** What Docker says of a container that was created so and has not started. */
function inspectOfCreated(request: CreateRequest): ContainerInspect {
  const { HostConfig, NetworkingConfig: _, ...config } = request.body;
  const id = "f".repeat(64);
  return {
    ...plain,
    Id: id,
    Name: `/${request.name}`,
    Config: config,
    HostConfig: HostConfig as JsonObject,
    NetworkSettings: {
      Ports: {},
      Networks: Object.fromEntries(
        Object.entries(endpointsOf(request)).map(([name, endpoint]) => [
          name,
          {
            ...endpoint,
            NetworkID: name.repeat(32),
            IPAddress: endpoint.IPAMConfig?.IPv4Address ?? "",
            Aliases: name === "bridge" ? null : [...(endpoint.Aliases ?? []), id.slice(0, 12), String(config.Hostname)],
          },
        ]),
      ),
    },
  };
}

describe("what is carried of a container with every setting", () => {
  const { request, restartPolicy, findings } = carry(full);
  const host = hostConfigOf(request);

  test.each([
    ["name", request.name, "full"],
    ["image", request.body.Image, image],
    ["environment", request.body.Env, ["A=1", "B=two words", "PATH=/bin"]],
    ["entry point", request.body.Entrypoint, ["/bin/sh"]],
    ["command", request.body.Cmd, ["-c", "sleep 1d"]],
    ["labels", request.body.Labels, { app: "x", base: "1" }],
    ["user", request.body.User, "1000:1000"],
    ["host name", request.body.Hostname, "hh"],
    ["domain name", request.body.Domainname, "dd.example"],
    ["working directory", request.body.WorkingDir, "/tmp"],
    ["stop signal", request.body.StopSignal, "SIGINT"],
    ["stop timeout", request.body.StopTimeout, 33],
    ["terminal", request.body.Tty, true],
    ["standard input", request.body.OpenStdin, true],
    ["health check", request.body.Healthcheck, { Test: ["CMD-SHELL", "true"], Interval: 5_000_000_000 }],
    ["exposed ports", request.body.ExposedPorts, full.Config.ExposedPorts],
    ["init", host.Init, true],
    ["memory", host.Memory, 67_108_864],
    ["memory with swap", host.MemorySwap, 134_217_728],
    ["processors", host.NanoCpus, 500_000_000],
    ["processes", host.PidsLimit, 50],
    ["capabilities added", host.CapAdd, ["CAP_NET_ADMIN"]],
    ["capabilities dropped", host.CapDrop, ["CAP_MKNOD"]],
    ["seccomp", host.SecurityOpt, ["seccomp=unconfined"]],
    ["groups", host.GroupAdd, ["44"]],
    ["sysctls", host.Sysctls, { "net.core.somaxconn": "1024" }],
    ["limits", host.Ulimits, [{ Name: "nofile", Hard: 2000, Soft: 1000 }]],
    ["shared memory", host.ShmSize, 33_554_432],
    ["tmpfs", host.Tmpfs, { "/run": "size=1m" }],
    ["mounts", host.Mounts, full.HostConfig.Mounts],
    ["binds", host.Binds, ["/tmp:/host:ro", "vol1:/data"]],
    ["devices", host.Devices, full.HostConfig.Devices],
    ["log", host.LogConfig, { Type: "json-file", Config: { "max-size": "1m" } }],
    ["cgroup namespace", host.CgroupnsMode, "host"],
    ["ipc", host.IpcMode, "shareable"],
    ["hosts", host.ExtraHosts, ["foo:1.2.3.4"]],
    ["dns", host.Dns, ["9.9.9.9"]],
    ["dns search", host.DnsSearch, ["example"]],
    ["dns options", host.DnsOptions, ["ndots:2"]],
    ["read-only root", host.ReadonlyRootfs, true],
    ["oom score", host.OomScoreAdj, 100],
    ["annotations", host.Annotations, { x: "y" }],
    ["masked paths", host.MaskedPaths, full.HostConfig.MaskedPaths],
    ["port bindings", host.PortBindings, full.HostConfig.PortBindings],
    ["runtime", host.Runtime, DRAYAGE_RUNTIME],
    ["restart policy until the end", host.RestartPolicy, { Name: "no", MaximumRetryCount: 0 }],
    ["restart policy at the end", restartPolicy, { Name: "on-failure", MaximumRetryCount: 3 }],
    ["findings", findings, []],
  ])("%s", (_, carried, expected) => {
    expect(carried).toEqual(expected);
  });

  test("networks with addresses, hardware addresses and aliases", () => {
    expect(endpointsOf(request)).toEqual({
      lan: {
        IPAMConfig: { IPv4Address: "10.77.0.9", IPv6Address: "fd77::9" },
        MacAddress: "02:42:aa:bb:cc:dd",
        Aliases: ["db", "db2"],
      },
      br1: { MacAddress: "d2:68:a6:4b:b3:1e", Aliases: ["second"] },
    });
    expect(request.body).not.toHaveProperty("MacAddress");
  });
});

describe("what differs between hosts", () => {
  test("an address that Docker chose on a shared network is kept", () => {
    const lanOnly = full.NetworkSettings.Networks.lan ?? {};
    const chosen = { ...full, NetworkSettings: { Networks: { lan: { ...lanOnly, IPAMConfig: null } } } };
    expect(endpointsOf(carry(chosen).request).lan?.IPAMConfig).toEqual({
      IPv4Address: "10.77.0.9",
      IPv6Address: "fd77::9",
    });
  });

  test("an address that Docker chose on the default bridge is not", () => {
    expect(endpointsOf(carry(plain).request)).toEqual({ bridge: { MacAddress: "b6:b7:e2:f6:0b:a7" } });
  });

  test("a network named by id is named by name", () => {
    const id = full.NetworkSettings.Networks.lan?.NetworkID ?? "";
    expect(networkMode({ ...full, HostConfig: { ...full.HostConfig, NetworkMode: id } })).toBe("lan");
  });

  test.each(["none", "host", "container:abc"])("mode %s has no endpoints", (NetworkMode) => {
    expect(endpointsOf(carry({ ...full, HostConfig: { ...full.HostConfig, NetworkMode } }).request)).toEqual({});
  });

  test("an image's entry point does not come back", () => {
    expect(carry(plain).request.body.Entrypoint).toEqual([""]);
  });

  test("ports that Docker chose stay what they were", () => {
    const Ports = {
      "80/tcp": [
        { HostIp: "0.0.0.0", HostPort: "32768" },
        { HostIp: "::", HostPort: "32768" },
      ],
      "81/tcp": null,
    };
    const HostConfig = { ...plain.HostConfig, PortBindings: { "80/tcp": [{ HostIp: "", HostPort: "" }] } };
    const inspect = { ...plain, HostConfig, NetworkSettings: { ...plain.NetworkSettings, Ports } };
    expect(carryPorts(inspect)).toEqual({ "80/tcp": [{ HostIp: "", HostPort: "32768" }] });
  });
});

describe("what is refused or noticed", () => {
  const codesWith = (settings: JsonObject): string[] =>
    carry({ ...plain, HostConfig: { ...plain.HostConfig, ...settings } }).findings.map(({ code }) => code);

  test.each<[JsonObject, string[]]>([
    [{}, []],
    [{ AutoRemove: true }, ["auto-remove"]],
    [{ Links: ["/other:/plain/alias"] }, ["legacy-links"]],
    [{ VolumesFrom: ["other"] }, ["volumes-from"]],
    [{ FutureThing: 0, FutureList: [], FutureText: "", FutureMap: {}, FutureNull: null, FutureSwitch: false }, []],
    [{ FutureThing: 7 }, ["unknown-setting"]],
  ])("%j", (settings, codes) => {
    expect(codesWith(settings)).toEqual(codes);
  });

  test("an unknown setting is carried all the same", () => {
    const inspect = { ...plain, HostConfig: { ...plain.HostConfig, FutureThing: { a: [1] } } };
    expect(hostConfigOf(carry(inspect).request).FutureThing).toEqual({ a: [1] });
  });
});

test("carrying the copy again gives the same request", () => {
  const words = fc.array(fc.string(), { maxLength: 3 });
  const settings = fc.record(
    {
      Memory: fc.nat(),
      CapAdd: fc.option(words),
      Sysctls: fc.dictionary(fc.string(), fc.string()),
      OomKillDisable: fc.constantFrom(null, true, false),
      NetworkMode: fc.constantFrom("lan", "br1", "bridge", "default", "none"),
      PortBindings: fc.dictionary(
        fc.constantFrom("80/tcp", "53/udp"),
        fc.array(fc.record({ HostIp: fc.constantFrom("", "127.0.0.1"), HostPort: fc.constantFrom("80", "") }), {
          maxLength: 2,
        }),
      ),
      RestartPolicy: fc.record({ Name: fc.constantFrom("always", "no", ""), MaximumRetryCount: fc.nat(3) }),
      Runtime: fc.constantFrom("runc", "drayage"),
      FutureThing: fc.jsonValue().map((value) => value as Json),
    },
    { requiredKeys: [] },
  );
  const config = fc.record(
    { Env: words, Cmd: fc.option(words), Entrypoint: fc.option(words), Hostname: fc.string(), Tty: fc.boolean() },
    { requiredKeys: [] },
  );
  const endpoint = fc.record({
    IPAMConfig: fc.constantFrom(null, {}, { IPv4Address: "10.0.0.5" }),
    IPAddress: fc.constantFrom("", "10.0.0.5"),
    Aliases: fc.option(words),
    MacAddress: fc.constantFrom("", "02:42:00:00:00:01"),
  });
  const attached = fc.dictionary(fc.constantFrom("lan", "br1", "bridge"), endpoint, { maxKeys: 3 });
  fc.assert(
    fc.property(settings, config, attached, (host, own, Networks) => {
      const inspect: ContainerInspect = {
        ...full,
        HostConfig: { ...full.HostConfig, ...host },
        Config: { ...full.Config, ...own },
        NetworkSettings: { Networks },
      };
      const once = carry(inspect).request;
      expect(carry(inspectOfCreated(once)).request).toEqual(once);
    }),
  );
});

/** The agent's Docker port, images and carried configurations on the real Dockers of two nodes. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { carryConfiguration } from "../../agent/src/docker/carry-configuration.ts";
import type { DockerPort } from "../../agent/src/docker/docker-port.ts";
import { openDocker } from "../../agent/src/docker/open-docker.ts";
import type { ContainerInspect, JsonObject, NetworkInspect } from "../../agent/src/docker/types.ts";
import { exportImage, imageIdentity, importImage } from "../../agent/src/image/image-transfer.ts";
import { Stage } from "../e2e/stage.ts";

const IMAGE = "redis:latest";
const stage = new Stage("docker", ["redis"]);

test("both image stores are met: containerd's on the third node of trixie, graph drivers elsewhere", async () => {
  const { lab } = stage;
  expect(lab.containerdNodes).toEqual(lab.suite === "trixie" ? [stage.third] : []);
  for (const node of lab.nodes) {
    const status = await lab.docker(node, "info", "--format", "{{json .DriverStatus}}");
    expect(status.includes("io.containerd.snapshotter"), `${node}: ${status}`).toBe(lab.containerdNodes.includes(node));
  }
});

async function dockerOf(node: string): Promise<DockerPort> {
  return openDocker({ socketPath: await stage.lab.pathFromHost(node, "/run/docker.sock") });
}

// The third one keeps its images in containerd's store, where the suite has such a node.
describe.each(["source", "third"] as const)("the Docker of the node %s", (which) => {
  let docker: DockerPort;
  let name = "";
  const made: string[] = [];

  beforeAll(async () => {
    const node = stage[which];
    await stage.lab.images(["redis"], [node]);
    docker = await dockerOf(node);
  });
  beforeEach(() => {
    name = `drayage-test-${randomBytes(4).toString("hex")}`;
  });
  afterEach(async () => {
    for (const id of made.splice(0)) await docker.removeContainer(id, { force: true, volumes: true });
  });

  async function create(body: JsonObject, as = name): Promise<string> {
    const { id } = await docker.createContainer({ name: as, body: { Image: IMAGE, Cmd: ["sleep", "1d"], ...body } });
    made.push(id);
    return id;
  }

  async function networks(): Promise<NetworkInspect[]> {
    const listed = await docker.listNetworks();
    return Promise.all(listed.map(({ Id }) => docker.inspectNetwork(Id)));
  }

  test("a container's life, seen in events", async () => {
    const controller = new AbortController();
    const seen: string[] = [];
    const ready = Promise.withResolvers<void>();
    const following = (async () => {
      for await (const notice of docker.events({ type: ["container"] }, controller.signal)) {
        if (notice.kind === "resync") ready.resolve();
        else if (notice.event.Actor.Attributes.name?.startsWith(name) === true) seen.push(notice.event.Action);
        if (seen.at(-1) === "destroy") break;
      }
    })();
    await ready.promise;
    const id = await create({});
    await docker.startContainer(id);
    await docker.pauseContainer(id);
    expect((await docker.inspectContainer(id)).State).toMatchObject({ Paused: true });
    await docker.unpauseContainer(id);
    await docker.updateRestartPolicy(id, { Name: "on-failure", MaximumRetryCount: 2 });
    await docker.renameContainer(id, `${name}-renamed`);
    const ended = docker.waitContainer(id);
    await docker.killContainer(id);
    expect(await ended).toBe(137);
    const inspect = await docker.inspectContainer(id);
    expect(inspect.Name).toBe(`/${name}-renamed`);
    expect(inspect.HostConfig.RestartPolicy).toEqual({ Name: "on-failure", MaximumRetryCount: 2 });
    await docker.removeContainer(id);
    await docker.removeContainer(id);
    await following;
    expect(seen.filter((action) => !action.startsWith("exec"))).toEqual(
      expect.arrayContaining(["create", "start", "pause", "unpause", "kill", "die", "destroy"]),
    );
  });

  test.each<[string, JsonObject]>([
    ["nothing set", {}],
    ["no entry point", { Entrypoint: [""], Cmd: ["sh", "-c", "sleep 1d"] }],
    [
      "much set",
      {
        Env: ["A=1", "B=two words"],
        Labels: { a: "b" },
        User: "1000:1000",
        Hostname: "host-of-its-own",
        WorkingDir: "/tmp",
        StopSignal: "SIGINT",
        StopTimeout: 7,
        Tty: true,
        OpenStdin: true,
        Healthcheck: { Test: ["CMD", "true"], Interval: 5_000_000_000 },
        ExposedPorts: { "80/tcp": {} },
        HostConfig: {
          Init: true,
          CapAdd: ["CAP_NET_ADMIN"],
          CapDrop: ["CAP_MKNOD"],
          SecurityOpt: ["seccomp=unconfined"],
          Sysctls: { "net.core.somaxconn": "1024" },
          Ulimits: [{ Name: "nofile", Soft: 1000, Hard: 2000 }],
          ShmSize: 33_554_432,
          Tmpfs: { "/run": "size=1m" },
          Mounts: [{ Type: "tmpfs", Target: "/cache", TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o1770 } }],
          ExtraHosts: ["foo:1.2.3.4"],
          Dns: ["9.9.9.9"],
          LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
          RestartPolicy: { Name: "always", MaximumRetryCount: 0 },
          PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
          ReadonlyRootfs: true,
          OomScoreAdj: 100,
        },
      },
    ],
  ])("a copy is the same container: %s", async (_, body) => {
    const id = await create(body);
    await docker.startContainer(id);
    const inspect = await docker.inspectContainer(id);
    const options = { image: inspect.Image, networks: await networks(), runtime: "runc", name: `${name}-copy` };
    const carried = carryConfiguration(inspect, options);
    expect(carried.findings).toEqual([]);
    await docker.killContainer(id);
    const { id: copyId } = await docker.createContainer(carried.request);
    made.push(copyId);
    const created = await docker.inspectContainer(copyId);
    expect(carryConfiguration(created, options).request).toEqual(carried.request);
    await docker.startContainer(copyId);
    const copy = await docker.inspectContainer(copyId);
    expect(carryConfiguration(copy, options).request).toEqual(carried.request);
    expect(settingsOf(copy)).toEqual({ ...settingsOf(inspect), RestartPolicy: { Name: "no", MaximumRetryCount: 0 } });
  });
});

// Of containerd's store the agent also asks containerd on its own host; whole migrations prove that.
test("an image goes out and comes in", async () => {
  const docker = await dockerOf(stage.source);
  const { Id } = await docker.inspectImage(IMAGE);
  const identity = await imageIdentity(docker, Id);
  expect(identity.tags).toContain(IMAGE);
  expect(identity.diffIds.length).toBeGreaterThan(0);
  expect(await importImage(docker, await exportImage(docker, Id), identity)).toBe(Id);
  const other = { ...identity, configDigest: `sha256:${"0".repeat(64)}` };
  await expect(importImage(docker, await exportImage(docker, Id), other)).rejects.toMatchObject({
    reason: "CORRUPT_STREAM",
  });
});

/** All settings but those that are wanted otherwise in a copy. */
function settingsOf({ Config, HostConfig }: ContainerInspect): JsonObject {
  const { Image: _image, Entrypoint: _entrypoint, MacAddress: _mac, ...config } = Config;
  const { PortBindings: _ports, Runtime: _runtime, NetworkMode: _mode, ...host } = HostConfig;
  return { ...config, ...host };
}

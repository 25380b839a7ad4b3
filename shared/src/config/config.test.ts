import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { joinAddress, splitAddress } from "./address.ts";
import { loadAgentConfig } from "./agent.ts";
import { loadClientConfig } from "./client.ts";
import { loadCoordinatorConfig } from "./coordinator.ts";
import { environmentName } from "./environment.ts";
import { editDistance } from "./issues.ts";
import { ownAddresses } from "./own-addresses.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-config-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, text);
  return path;
}

const MINIMAL = "etcdEndpoints: [https://10.0.0.1:2379]\nadvertiseAddresses: [n1.lan]\n";
const agent = async (text: string, env = {}, flags = {}) =>
  loadAgentConfig({ path: await file("agent.yaml", text), env, flags });

describe("where values come from", () => {
  test("defaults", async () => {
    expect(await agent(MINIMAL)).toMatchObject({
      listen: "0.0.0.0:7400",
      pageListen: "0.0.0.0:7401",
      pageConnections: 1,
      pageLanePort: 7421,
      metricsListen: "127.0.0.1:7402",
      pkiDirectory: "/etc/drayage/pki",
      stateDirectory: "/var/lib/drayage",
      runDirectory: "/run/drayage",
      dockerSocket: "/var/run/docker.sock",
      leaseTtlSeconds: 5,
      logLevel: "info",
      labels: {},
    });
  });

  test("flag over environment over conf.d, last file first, over file", async () => {
    await file(
      "agent.conf.d/10-first.yaml",
      "leaseTtlSeconds: 11\nrunDirectory: /d1\nstateDirectory: /d1\ndockerSocket: /d1\n",
    );
    await file("agent.conf.d/20-second.yaml", "runDirectory: /d2\nstateDirectory: /d2\ndockerSocket: /d2\n");
    await file("agent.conf.d/ignored.txt", "nonsense");
    const env = { DRAYAGE_STATE_DIRECTORY: "/e", DRAYAGE_DOCKER_SOCKET: "/e" };
    const config = await agent(`${MINIMAL}leaseTtlSeconds: 10\nnode: n1\n`, env, {
      dockerSocket: "/f",
      runcRoot: undefined,
    });
    expect(config).toMatchObject({
      node: "n1",
      leaseTtlSeconds: 11,
      runDirectory: "/d2",
      stateDirectory: "/e",
      dockerSocket: "/f",
      runcRoot: "/run/docker/runtime-runc/moby",
    });
  });

  test("lists, maps and numbers from the environment", async () => {
    const env = {
      DRAYAGE_ETCD_ENDPOINTS: "https://a:1, https://b:2",
      DRAYAGE_LABELS: "rack=r1,tier=db=x",
      DRAYAGE_IMAGE_TMPFS_LIMIT_BYTES: "4096",
    };
    expect(await agent("", env)).toMatchObject({
      etcdEndpoints: ["https://a:1", "https://b:2"],
      labels: { rack: "r1", tier: "db=x" },
      imageTmpfsLimitBytes: 4096,
    });
    expect(await agent(MINIMAL, { DRAYAGE_PAGE_CONNECTIONS: "3" })).toMatchObject({ pageConnections: 3 });
    expect(await agent(MINIMAL, { DRAYAGE_PAGE_CONNECTIONS: "auto" })).toMatchObject({ pageConnections: "auto" });
  });

  test("environment names follow the keys", () => {
    expect(environmentName("leaseTtlSeconds")).toBe("DRAYAGE_LEASE_TTL_SECONDS");
    expect(environmentName("node")).toBe("DRAYAGE_NODE");
  });

  test("without addresses to advertise the host's own are taken", async () => {
    const path = await file("coordinator.yaml", "etcdEndpoints: [https://10.0.0.1:2379]\n");
    for (const address of (await loadCoordinatorConfig({ path, env: {} })).advertiseAddresses) {
      expect(address).not.toMatch(/^127\.|^fe80|^::1$/);
    }
  });
});

describe("errors name place, key and remedy", () => {
  const failure = async (text: string, env = {}) =>
    agent(text, env).then(
      () => expect.unreachable("the configuration was accepted"),
      (error: unknown) => error,
    );

  test("an unknown key, with the one that was meant", async () => {
    expect(await failure(`${MINIMAL}lissten: 0.0.0.0:1\n`)).toMatchObject({
      reason: "BAD_CONFIG",
      message: expect.stringMatching(/agent\.yaml: unknown key lissten$/),
      remedy: "Write listen instead of lissten.",
    });
  });

  test("a number of connections that there cannot be", async () => {
    for (const given of ["0", "9", "1.5", "many"]) {
      expect(await failure(`${MINIMAL}pageConnections: ${given}\n`)).toMatchObject({
        reason: "BAD_CONFIG",
        message: expect.stringContaining('must be "auto" or a whole number from 1 to 8'),
      });
    }
  });

  test("the file in conf.d is the one named", async () => {
    await file("agent.conf.d/50-x.yaml", "zzzzzzzz: 1\n");
    expect(await failure(MINIMAL)).toMatchObject({
      message: expect.stringMatching(/agent\.conf\.d\/50-x\.yaml: unknown key zzzzzzzz/),
      remedy: expect.stringContaining("known keys are node, "),
    });
  });

  test("a missing key", async () => {
    expect(await failure("node: n1\n")).toMatchObject({
      message: expect.stringMatching(/agent\.yaml: etcdEndpoints is missing/),
      remedy: "Add etcdEndpoints, or set DRAYAGE_ETCD_ENDPOINTS.",
    });
  });

  test.each([
    ["listen: 7400", /listen: /],
    ["listen: host:99999", /listen: must be "host:port"/],
    ["leaseTtlSeconds: 1", /leaseTtlSeconds: must be at least 2/],
    ["pkiDirectory: pki", /pkiDirectory: must be an absolute path/],
    ["etcdEndpoints: [http://a:1]", /etcdEndpoints\[0\]: must be "https:/],
    ["etcdEndpoints: []", /at least one endpoint/],
    ["labels: {a: 1}", /labels\.a: /],
    ["logLevel: loud", /logLevel: .*"info"/],
  ])("%s", async (line, message) => {
    const text = line.startsWith("etcdEndpoints") ? line : `${MINIMAL}${line}`;
    expect(await failure(text)).toMatchObject({ reason: "BAD_CONFIG", message: expect.stringMatching(message) });
  });

  test("from the environment", async () => {
    expect(await failure(MINIMAL, { DRAYAGE_LEASE_TTL_SECONDS: "soon" })).toMatchObject({
      message: expect.stringMatching(/^environment: leaseTtlSeconds: /),
    });
  });

  test.each(["- a\n- b\n", "a: [\n", "a: 1\na: 2\n", "just text"])("%j is no configuration", async (text) => {
    expect(await failure(text)).toMatchObject({ reason: "BAD_CONFIG", message: expect.stringContaining("agent.yaml") });
  });

  test("a file that was named and is not there", async () => {
    await expect(loadAgentConfig({ path: join(directory, "none.yaml"), env: {} })).rejects.toThrow(
      /none\.yaml does not exist/,
    );
  });
});

describe("client configuration", () => {
  test("DRAYAGE_CONFIG names the file; the PKI lies beside it", async () => {
    const path = await file("lab/client.yaml", "coordinators: [10.0.0.1:7410, '[::1]:7410']\n");
    const config = await loadClientConfig({ env: { DRAYAGE_CONFIG: path } });
    expect(config).toEqual({ coordinators: ["10.0.0.1:7410", "[::1]:7410"], pkiDirectory: join(directory, "lab/pki") });
  });

  test("the user's file", async () => {
    await file(".config/drayage/client.yaml", "coordinators: [a:1]\npkiDirectory: /elsewhere\n");
    expect(await loadClientConfig({ env: { HOME: directory } })).toEqual({
      coordinators: ["a:1"],
      pkiDirectory: "/elsewhere",
    });
  });

  test("no file: the environment will do, else the error says where files are looked for", async () => {
    const env = { HOME: directory };
    expect(await loadClientConfig({ env: { ...env, DRAYAGE_COORDINATORS: "a:1,b:2" } })).toMatchObject({
      coordinators: ["a:1", "b:2"],
    });
    await expect(loadClientConfig({ env })).rejects.toMatchObject({
      message: expect.stringContaining("/etc/drayage/client.yaml"),
      remedy: expect.stringMatching(/--config or DRAYAGE_CONFIG; .*DRAYAGE_COORDINATORS=.*DRAYAGE_PKI_DIRECTORY=/),
    });
  });
});

describe("pure parts", () => {
  test("addresses are taken apart and put together", () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.nat(65_535), (name, port) => {
        expect(splitAddress(joinAddress(name, port))).toEqual({ host: name, port });
      }),
    );
    for (const bad of ["", "host", ":1", "host:", "host:70000", "::1:80", "http://a:1"]) {
      expect(() => splitAddress(bad)).toThrow(/is not an address/);
    }
  });

  test("own addresses leave out what only containers see", () => {
    const entry = (address: string, family: "IPv4" | "IPv6", internal = false) =>
      ({ address, family, internal, netmask: "", mac: "", cidr: null, scopeid: 0 }) as never;
    expect(
      ownAddresses({
        lo: [entry("127.0.0.1", "IPv4", true)],
        eth0: [entry("fd00::2", "IPv6"), entry("10.0.0.2", "IPv4"), entry("fe80::1", "IPv6")],
        docker0: [entry("172.17.0.1", "IPv4")],
        veth12: [entry("169.254.0.9", "IPv4")],
      }),
    ).toEqual(["10.0.0.2", "fd00::2"]);
  });

  test("edit distance", () => {
    expect(editDistance("kitten", "sitting")).toBe(3);
    fc.assert(
      fc.property(
        fc.string({ maxLength: 12 }),
        fc.string({ maxLength: 12 }),
        (a, b) => editDistance(a, b) === editDistance(b, a),
      ),
    );
  });
});

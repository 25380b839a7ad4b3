/**
 * The package on a real host: installed, upgraded, removed, purged, and what
 * becomes of Docker's configuration and of containers that name the runtime.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const LAB = "package-test";
const DAEMON_JSON = "/etc/docker/daemon.json";
const PACKAGE = "/root/drayage.deb";
/** The first lab of a machine installs what it needs and builds the nodes' root file system. */
const LAB_TIMEOUT_MS = 900_000;

interface Result {
  readonly code: number;
  readonly output: string;
}

async function lab(...args: string[]): Promise<void> {
  await run(join(ROOT, "deploy/lab/lab"), args, { timeout: LAB_TIMEOUT_MS });
}

/** Runs a shell script in the node; both output streams together. */
async function node(script: string): Promise<Result> {
  const args = ["exec", "--name", LAB, "n1", "--", "sh", "-c", `exec 2>&1; ${script}`];
  try {
    const { stdout } = await run(join(ROOT, "deploy/lab/lab"), args, { timeout: LAB_TIMEOUT_MS });
    return { code: 0, output: stdout };
  } catch (error) {
    if (error instanceof Error && "code" in error && typeof error.code === "number" && "stdout" in error) {
      return { code: error.code, output: String(error.stdout) };
    }
    throw error;
  }
}

async function succeeds(script: string): Promise<string> {
  const { code, output } = await node(script);
  expect(code, output).toBe(0);
  return output;
}

async function fails(script: string): Promise<string> {
  const { code, output } = await node(script);
  expect(code, output).not.toBe(0);
  return output;
}

const install = () => succeeds(`dpkg --install ${PACKAGE}`);
const remove = () => succeeds("dpkg --remove drayage");
const purge = () => succeeds("dpkg --purge drayage");
const writeDaemonJson = (text: string) => succeeds(`printf '%s' '${text}' > ${DAEMON_JSON}; systemctl reload docker`);
const daemonJson = async (): Promise<unknown> => JSON.parse(await succeeds(`cat ${DAEMON_JSON}`));
const start = (name: string, options = "") =>
  succeeds(`docker run --detach --name ${name} --network none ${options} redis`);
const isAlive = (name: string) => succeeds(`docker exec ${name} true`);

/** Path of the runtime as dockerd knows it now; empty if it does not. */
async function runtime(): Promise<string> {
  return (await succeeds(`docker info --format '{{with index .Runtimes "drayage"}}{{.Path}}{{end}}'`)).trim();
}

/** Files by Drayage's name; the lab has some of its own. */
async function ownFiles(): Promise<string> {
  return await succeeds(
    "find /etc /usr /var/lib /run -ignore_readdir_race -xdev -name '*drayage*' -not -path '/var/lib/docker/*'",
  );
}

async function defaultRuntime(): Promise<string> {
  return (await succeeds("docker info --format '{{.DefaultRuntime}}'")).trim();
}

beforeAll(async () => {
  await lab("up", "--name", LAB, "--nodes", "1", "--no-cluster");
  await lab("images", "--name", LAB, "redis");
  const built = await run(process.execPath, [join(ROOT, "deploy/build/build.ts")], { timeout: LAB_TIMEOUT_MS });
  await lab("cp", "--name", LAB, built.stdout.trim(), `n1:${PACKAGE}`);
}, LAB_TIMEOUT_MS);

afterAll(() => lab("down", "--name", LAB), LAB_TIMEOUT_MS);

beforeEach(async () => {
  // Docker may be restarted a few times in a row only.
  await node(
    "systemctl reset-failed docker docker.socket; systemctl start docker; docker ps --all --quiet | xargs -r docker rm --force",
  );
  await node(
    `rm -f ${DAEMON_JSON}; dpkg --configure --pending; dpkg --purge drayage; rm -f ${DAEMON_JSON}; systemctl reset-failed docker docker.socket; systemctl restart docker`,
  );
});

it("registers the runtime with a running dockerd, and takes it away without a trace", async () => {
  const before = '{\n  "debug": false,\n\t"labels": []}';
  await writeDaemonJson(before);
  const filesBefore = await ownFiles();
  await install();
  expect(await daemonJson()).toEqual({
    debug: false,
    labels: [],
    runtimes: { drayage: { path: "/usr/bin/drayage-runc" } },
  });
  expect(await runtime()).toBe("/usr/bin/drayage-runc");
  await start("named", "--runtime drayage");
  await isAlive("named");
  await succeeds("docker rm --force named");

  await purge();
  expect(await succeeds(`cat ${DAEMON_JSON}`)).toBe(before);
  expect(await runtime()).toBe("");
  expect(await ownFiles()).toBe(filesBefore);
});

it("makes no daemon.json that outlives it", async () => {
  await install();
  await purge();
  await fails(`ls ${DAEMON_JSON}`);
});

it("keeps through an upgrade what the administrator changed", async () => {
  await install();
  await start("named", "--runtime drayage");
  await writeDaemonJson('{"labels": ["a=b"], "runtimes": {"drayage": {"path": "/usr/bin/drayage-runc"}}}');
  await install();
  await isAlive("named");
  await succeeds("docker rm --force named");
  await purge();
  expect(await daemonJson()).toEqual({ labels: ["a=b"] });
});

it("leaves plain runc to containers that name the runtime", async () => {
  await install();
  await start("named", "--runtime drayage");
  expect(await remove()).toContain("names the runtime drayage");
  expect(await runtime()).toMatch(/\/runc$/);
  // Running, stopped and started, and after a restart of Docker.
  await isAlive("named");
  await succeeds("docker restart --time 1 named");
  await purge();
  await succeeds("systemctl restart docker; docker start named");
  await isAlive("named");

  await install();
  expect(await runtime()).toBe("/usr/bin/drayage-runc");
  await isAlive("named");
  await succeeds("docker rm --force named");
  await purge();
  expect(await runtime()).toBe("");
  await fails("ls /usr/bin/drayage-runc");
});

it("ends at the purge what the removal left for containers gone since", async () => {
  await writeDaemonJson('{"debug": false}');
  await install();
  await start("named", "--runtime drayage");
  await remove();
  await succeeds("docker rm --force named");
  await purge();
  expect(await daemonJson()).toEqual({ debug: false });
  await fails("ls /usr/bin/drayage-runc");
});

it("can be the default runtime, and is none after it has gone", async () => {
  await install();
  await succeeds("drayage docker-runtime default");
  expect(await defaultRuntime()).toBe("drayage");
  await succeeds("drayage docker-runtime default --undo");
  expect(await defaultRuntime()).toBe("runc");
  await succeeds("drayage docker-runtime default");
  await start("unnamed");
  await purge();
  expect(await defaultRuntime()).toBe("runc");
  await succeeds("docker restart --time 1 unnamed");
});

it.each([
  ["is not valid JSON", '{ "debug": tr'],
  ["is refused by dockerd", '{ "nonsense": 1 }'],
])("touches nothing when daemon.json %s", async (_, text) => {
  await succeeds(`printf '%s' '${text}' > ${DAEMON_JSON}`);
  const said = await fails(`dpkg --install ${PACKAGE}`);
  expect(said).toContain("remedy: ");
  expect(said).toContain("dpkg --configure drayage");
  expect(await succeeds(`cat ${DAEMON_JSON}`)).toBe(text);
  await succeeds(`rm ${DAEMON_JSON}; dpkg --configure drayage`);
  expect(await runtime()).toBe("/usr/bin/drayage-runc");
});

it("stays while a migration is under way, whose frozen container needs the agent", async () => {
  await install();
  const journal = "/var/lib/drayage/journal/0123456789ab.journal";
  const append = (state: string) =>
    succeeds(`mkdir -p "$(dirname ${journal})"; echo '{"crc":0,"entry":{"state":"${state}"}}' >>${journal}`);
  await append("sent");
  const said = await fails("dpkg --remove drayage");
  expect(said).toContain("under way on this host: 0123456789ab");
  expect(said).toContain("remedy: ");
  // What was asked for stays asked for: "deinstall ok installed".
  expect(await succeeds("dpkg-query --show --showformat='${db:Status-Status}' drayage")).toBe("installed");
  expect(await runtime()).toBe("/usr/bin/drayage-runc");
  await append("finished");
  await remove();
  expect(await runtime()).toBe("");
});

it("works while Docker is down", async () => {
  await succeeds("systemctl stop docker.socket docker");
  await install();
  await succeeds("systemctl start docker");
  expect(await runtime()).toBe("/usr/bin/drayage-runc");
  await succeeds("systemctl stop docker.socket docker");
  await purge();
  await succeeds("systemctl start docker");
  expect(await runtime()).toBe("");
});

it("has units that systemd finds no fault with, and that wait for their configuration", async () => {
  await install();
  expect(await succeeds("systemd-analyze verify drayage-agent.service drayage-coordinator.service")).toBe("");
  expect(await succeeds("systemctl is-enabled drayage-agent drayage-coordinator")).toBe("enabled\nenabled\n");
  expect((await node("systemctl is-active drayage-agent")).output).toBe("inactive\n");
  expect((await node("systemctl --failed --no-legend")).output).not.toContain("drayage");
});

/** A bare lab on this machine, through its command line: needs root. */
import { spawn } from "node:child_process";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bridgeName, labId, machineName } from "./address/plan.ts";
import type { Finding } from "./host/doctor.ts";
import { run, runRaw, type RunResult } from "./host/run.ts";
import { labLayout, REPOSITORY } from "./lab/layout.ts";
import type { LabStatus } from "./lab/status.ts";
import { labCgroup, shadowCgroup } from "./node/cgroup.ts";

const LAB = join(REPOSITORY, "deploy/lab/lab");
const NAME = `test-${process.pid}`;
const UP = ["up", "--no-cluster", "--nodes", "2"];
const DEADLINE_MS = 600_000;

const lab = (command: string, ...args: string[]): Promise<RunResult> =>
  runRaw([LAB, command, "--name", NAME, ...args], { deadlineMs: DEADLINE_MS });

async function status(): Promise<LabStatus> {
  return JSON.parse((await lab("status", "--json")).stdout) as LabStatus;
}

const inNode = (node: string, ...argv: string[]) => lab("exec", node, "--", ...argv);

async function expectNothingLeft(name = NAME): Promise<void> {
  const layout = labLayout(name);
  const id = labId(layout.directory);
  await expect(access(layout.directory)).rejects.toMatchObject({ code: "ENOENT" });
  for (const cgroup of [await labCgroup(id), shadowCgroup(id)]) {
    await expect(access(cgroup)).rejects.toMatchObject({ code: "ENOENT" });
  }
  expect(await run(["ip", "-brief", "link", "show"])).not.toMatch(new RegExp(`${bridgeName(id)}|vb-${id}`));
  expect(await run(["cat", "/proc/self/mountinfo"])).not.toContain(`${layout.directory}/`);
}

beforeAll(async () => {
  const { exitCode, stderr } = await lab(UP[0] ?? "", ...UP.slice(1));
  expect(stderr).toMatch(/is up/);
  expect(exitCode).toBe(0);
}, DEADLINE_MS);

afterAll(async () => {
  await lab("down");
}, DEADLINE_MS);

it("passes stdin, stdout and the exit code of a command", { timeout: DEADLINE_MS }, async () => {
  const echoed = await runRaw([LAB, "exec", "--name", NAME, "n1", "--", "sh", "-c", "cat; exit 7"], {
    stdin: "through",
  });
  expect(echoed).toMatchObject({ stdout: "through", exitCode: 7 });
  expect((await inNode("n9", "true")).exitCode).toBe(3);
});

it("brings up a lab that is up, and refuses to make it another", { timeout: DEADLINE_MS }, async () => {
  expect((await lab("up", "--no-cluster")).exitCode).toBe(0);
  expect((await lab("up", "--nodes", "3")).exitCode).toBe(4);
});

it("partitions without taking the carrier, and heals", { timeout: DEADLINE_MS }, async () => {
  const ping = () => inNode("n2", "ping", "-c1", "-W1", "n1");
  expect((await ping()).exitCode).toBe(0);
  await lab("partition", "n1");
  expect((await status()).nodes[0]?.partitioned).toBe(true);
  expect((await ping()).exitCode).not.toBe(0);
  expect((await inNode("n1", "cat", "/sys/class/net/host0/carrier")).stdout.trim()).toBe("1");
  await lab("heal", "n1");
  expect((await ping()).exitCode).toBe(0);
});

it("cuts a node's power and boots it again from its disk", { timeout: DEADLINE_MS }, async () => {
  await inNode("n2", "sh", "-c", "echo kept >/var/lib/kept");
  expect((await lab("kill", "n2")).exitCode).toBe(0);
  expect((await status()).nodes[1]?.state).toBe("off");
  expect((await inNode("n2", "true")).exitCode).toBe(5);
  expect((await lab("start", "n2")).exitCode).toBe(0);
  expect((await inNode("n2", "cat", "/var/lib/kept")).stdout).toBe("kept\n");
});

it("limits a link in both directions, also after a power cut, until the limit is taken away", {
  timeout: DEADLINE_MS,
}, async () => {
  const port = `vb-${machineName(labId(labLayout(NAME).directory), "n2")}`;
  const shaped = async () => [
    await run(["tc", "qdisc", "show", "dev", port]),
    (await inNode("n2", "tc", "qdisc", "show", "dev", "host0")).stdout,
  ];
  expect((await lab("link", "n2", "--rate", "100mbit")).exitCode).toBe(0);
  for (const qdisc of await shaped()) expect(qdisc).toMatch(/tbf .*rate 100Mbit/);
  await lab("kill", "n2");
  await lab("start", "n2");
  for (const qdisc of await shaped()) expect(qdisc).toMatch(/tbf .*rate 100Mbit/);
  expect((await lab("link", "n2", "--rate", "none")).exitCode).toBe(0);
  for (const qdisc of await shaped()) expect(qdisc).not.toContain("tbf");
});

it("is one of two labs at once, on networks of their own", { timeout: DEADLINE_MS }, async () => {
  const other = (command: string, ...args: string[]) =>
    runRaw([LAB, command, "--name", `${NAME}-other`, ...args], { deadlineMs: DEADLINE_MS });
  try {
    expect((await other("up", "--no-cluster", "--nodes", "1")).exitCode).toBe(0);
    const { subnet, nodes } = JSON.parse((await other("status", "--json")).stdout) as LabStatus;
    expect(nodes.map(({ state }) => state)).toEqual(["running"]);
    const own = await status();
    expect(own.subnet).not.toBe(subnet);
    expect(own.nodes.map(({ state }) => state)).toEqual(["running", "running"]);
  } finally {
    await other("down");
  }
  await expectNothingLeft(`${NAME}-other`);
  expect((await inNode("n2", "ping", "-c1", "-W1", "n1")).exitCode).toBe(0);
});

it("has a doctor that misses nothing where a lab is up, and has a remedy for what it notes", async () => {
  const { stdout, exitCode } = await runRaw([LAB, "doctor", "--json"], { deadlineMs: DEADLINE_MS });
  const findings = JSON.parse(stdout) as Finding[];
  expect(findings.filter(({ verdict }) => verdict === "missing")).toEqual([]);
  for (const { verdict, remedy } of findings) expect(remedy === "").toBe(verdict === "ok");
  expect(exitCode).toBe(0);
});

it("leaves nothing behind: down, down again, an interrupted up, a killed up", { timeout: DEADLINE_MS }, async () => {
  expect((await lab("down")).exitCode).toBe(0);
  await expectNothingLeft();
  expect((await lab("down")).exitCode).toBe(0);
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    await signalledUp(signal);
    if (signal === "SIGKILL") await lab("down");
    await expectNothingLeft();
  }
});

/** An `up` that gets a signal when its nodes have begun to boot. */
async function signalledUp(signal: NodeJS.Signals): Promise<void> {
  const [command = "", ...args] = UP;
  const child = spawn(LAB, [command, "--name", NAME, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  child.stderr.on("data", (chunk: Buffer) => {
    if (chunk.toString().includes("booting")) child.kill(signal);
  });
  await new Promise((resolve) => child.once("close", resolve));
}

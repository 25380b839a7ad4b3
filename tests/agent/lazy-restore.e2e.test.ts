/** A lazily restored copy whose memory comes through drayage-fault-server, with the true CRIU, runc and Docker. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stage } from "../e2e/stage.ts";
import { eventually } from "../harness/eventually.ts";
import { buildNodeProgram, NODE } from "../harness/node-program.ts";
import { importProver, PROVER_IMAGE } from "../harness/memory-prover.ts";

const MEGABYTES = 256;
/** See agent/src/criu/aligned-stacks.ts: a stack that begins elsewhere is all that another attempt is for. */
const ATTEMPTS = 5;
const AGENT_READY_MS = 60_000;
const PROGRAM = "/var/lib/lazy-restore-driver.mjs";
/** Port 7000, as the kernel shows it. */
const LISTENER = ":1B58 ";
const stage = new Stage("lazy-restore", []);
const migrationId = randomBytes(6).toString("hex");

interface Told {
  readonly beforeThaw: { readonly frozen: boolean; readonly faults: number };
  readonly lazyPages: number;
  readonly faultsForCount: number;
  readonly count: string;
  readonly outcome: string;
  readonly checked: string;
  readonly again: string;
}

beforeAll(async () => {
  const { lab, source } = stage;
  await importProver(lab, [source]);
  await lab.writeFile(source, PROGRAM, await buildNodeProgram(`${import.meta.dirname}/lazy-restore-driver.ts`));
  await lab.exec(source, ["systemctl", "stop", "drayage-agent"]);
});

afterAll(async () => {
  const { lab, source } = stage;
  await lab.exec(source, ["rm", "-rf", PROGRAM, `/run/drayage/images/${migrationId}`]);
  await lab.exec(source, ["systemctl", "start", "drayage-agent"]);
  await eventually(
    async () => {
      const { document } = await lab.dray<readonly { state: string }[]>(["node", "ls"]);
      return document.every(({ state }) => state === "ready") ? true : undefined;
    },
    { what: "the agent is back", deadlineMs: AGENT_READY_MS },
  );
});

/** What the driver tells of one original and its copy; null if CRIU would leave none of its memory where it is. */
async function restoreLazily(attempt: number): Promise<Told | null> {
  const { lab, source } = stage;
  const run = ["--network=none", "--runtime=drayage", PROVER_IMAGE, "--mb", `${MEGABYTES}`];
  // Where the stack begins follows from what is in the environment, too.
  const moved = `--env=STACK=${"x".repeat(16 * attempt)}`;
  const name = `lazy-${migrationId}-${attempt}`;
  const originalId = await lab.docker(source, "run", "--detach", `--name=${name}`, moved, ...run);
  const copyId = await lab.docker(source, "create", `--name=${name}-copy`, moved, ...run);
  try {
    await eventually(
      async () => {
        const pid = await lab.docker(source, "inspect", "--format={{.State.Pid}}", originalId);
        const sockets = await lab.exec(source, ["cat", `/proc/${pid}/net/tcp`]);
        return sockets.includes(LISTENER) ? true : undefined;
      },
      { what: "the prover listens", deadlineMs: 60_000 },
    );
    const said = await lab.exec(source, [NODE, PROGRAM, originalId, copyId, migrationId], { deadlineMs: 240_000 });
    const told = JSON.parse(said.split("\n").at(-1) ?? "") as Told | { readonly aligned: true };
    return "aligned" in told ? null : told;
  } finally {
    for (const id of [copyId, originalId]) await lab.tryExec(source, ["docker", "rm", "--force", id]);
  }
}

test("a copy runs before it has its memory, and every byte of it is right", async ({ skip }) => {
  let told: Told | null = null;
  for (let attempt = 0; told === null && attempt < ATTEMPTS; attempt++) told = await restoreLazily(attempt);
  // Of threads that wait where their stack pointer is at the beginning of a page in every attempt. e2e/modes moves such a one.
  if (told === null) return skip(`${ATTEMPTS} processes in turn had a stack pointer at the beginning of a page`);
  const pages = (MEGABYTES << 20) / 4096;
  expect(told).toMatchObject({
    beforeThaw: { frozen: true },
    outcome: "done",
    count: expect.stringMatching(/^count \d+$/),
    checked: expect.stringMatching(/^ok pages=\d+/),
    again: expect.stringMatching(/^ok pages=\d+/),
  });
  expect(told.lazyPages, JSON.stringify(told)).toBeGreaterThan(pages / 2);
  // It has answered before more than a small part of its memory was there.
  expect(told.faultsForCount).toBeGreaterThan(0);
  expect(told.faultsForCount).toBeLessThan(pages / 100);
});

/**
 * CRIU's own rounds (`runc checkpoint --pre-dump`), brought to the agent's page server: where the kernel notes what is
 * written to, they leave out what the round before has, and what is read through all of them is the memory.
 */
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { DOCKER_RUNC_ROOT } from "../../agent/src/host/runc-state.ts";
import type { PageTotals } from "../../agent/src/page-server/page-server.ts";
import { removeContainer, startContainer } from "../harness/containers.ts";
import { importProver, Prover, PROVER_IMAGE } from "../harness/memory-prover.ts";
import { buildNodeProgram, NODE } from "../harness/node-program.ts";
import { dumpToCriu, dumpToUs, installPageServer } from "../harness/page-server.ts";
import { isWrittenByKernel, rseqCount } from "../harness/rseq.ts";
import { TestLab } from "../harness/test-lab.ts";
import type { Comparison } from "./compare-images-driver.ts";

const NAME = "vm-pre-dump";
const MEGABYTES = 64;
/** Few: a huge page has one mark, and there are 32 of them. */
const REWRITTEN_PAGES = 4;
const PAGES_PER_SECOND = 10;
const ROOT = "/run/pre-dump-test";
const COMPARE = "/var/lib/compare-images-driver.mjs";
const PORT = 27_314;
const THREADS = 1;
/** The threads of the prover that answer, and its first one. */
const OTHER_THREADS = 3;

let lab: TestLab;
let node = "";
let dockerId = "";
let prover: Prover;

beforeAll(async () => {
  lab = await TestLab.open(process.env["DRAYAGE_LAB"] ?? "vm");
  node = lab.nodes[0] ?? "";
  await importProver(lab, [node]);
  await installPageServer(lab, node);
  await lab.writeFile(node, COMPARE, await buildNodeProgram(`${import.meta.dirname}/compare-images-driver.ts`));
});

beforeEach(async () => {
  await lab.exec(node, ["rm", "--recursive", "--force", ROOT]);
  const address = lab.freeAddress(1);
  const command = ["--mb", String(MEGABYTES), "--threads", String(THREADS), "--seed", "11"];
  const options = ["--security-opt", "apparmor=unconfined"];
  ({ dockerId } = await startContainer(lab, { node, name: NAME, address, image: PROVER_IMAGE, command, options }));
  prover = await Prover.open(address);
});

afterEach(async () => {
  prover.close();
  await removeContainer(lab, NAME);
  await lab.exec(node, ["rm", "--recursive", "--force", ROOT]);
});

interface Checkpoint {
  /** Of its images but those of memory, and of memory on the server's side, each below a directory of its own. */
  readonly name: string;
  /** That of the one before. */
  readonly parent?: string;
  readonly isPreDump?: boolean;
}

/** `--pre-dump`, or a dump that leaves the container as it is, to whatever listens on the port. */
async function checkpoint({ name, parent, isPreDump = false }: Checkpoint): Promise<void> {
  const flags = isPreDump ? ["--pre-dump"] : ["--leave-running", "--tcp-established", "--file-locks", "--ext-unix-sk"];
  const chain = parent === undefined ? [] : ["--parent-path", `../${parent}`];
  await lab.shell(
    node,
    `directory="$1" id="$2"; shift 2
     mkdir --parents "$directory" "$directory-work"
     printf '%s\\n' 'network-lock skip' manage-cgroups=ignore >"$directory.conf"
     CRIU_CONFIG_FILE="$directory.conf" runc --root ${DOCKER_RUNC_ROOT} checkpoint --image-path "$directory" \
       --work-path "$directory-work" --page-server 127.0.0.1:${PORT} "$@" "$id" || {
       grep Error "$directory-work/dump.log" >&2
       exit 1
     }`,
    ...[`${ROOT}/client/${name}`, dockerId, ...flags, ...chain],
  );
}

/** To CRIU's own page server. Gives the directory of what has come. */
async function toCriu(how: Checkpoint): Promise<string> {
  const directory = `${ROOT}/of-criu/${how.name}`;
  await dumpToCriu(lab, node, { directory, port: PORT }, () => checkpoint(how));
  return directory;
}

/** To the agent's. */
async function toUs(how: Checkpoint): Promise<{ readonly directory: string; readonly totals: PageTotals }> {
  const directory = `${ROOT}/ours/${how.name}`;
  await lab.exec(node, ["mkdir", "--parents", directory]);
  if (how.parent !== undefined) await lab.exec(node, ["ln", "--symbolic", `../${how.parent}`, `${directory}/parent`]);
  const server = { directory, socket: `${ROOT}/ours/socket`, port: PORT };
  const totals = await dumpToUs(lab, node, server, () => checkpoint(how));
  return { directory, totals };
}

async function compare(one: string, other: string): Promise<Comparison> {
  return JSON.parse(await lab.exec(node, [NODE, COMPARE, one, other], { deadlineMs: 120_000 })) as Comparison;
}

/** That the memory in both is the same, and how many pages that is. */
async function demandSame(ours: string, ofCriu: string): Promise<number> {
  const { pages, missing, differing } = await compare(ours, ofCriu);
  expect(missing).toEqual([]);
  expect(rseqCount(differing)).toBeLessThanOrEqual(THREADS + OTHER_THREADS);
  expect(differing.filter((address) => !isWrittenByKernel(address))).toEqual([]);
  return pages;
}

test("the first round has all, the next what was written to, and the dump after them is the memory", async () => {
  await lab.docker(node, "pause", dockerId);
  const ofCriu = await toCriu({ name: "first-of-criu", isPreDump: true });
  const first = await toUs({ name: "first", isPreDump: true });
  await lab.docker(node, "unpause", dockerId);
  const pages = await demandSame(first.directory, ofCriu);
  expect(pages).toBeGreaterThan((MEGABYTES - 2) * 256);
  expect(first.totals).toMatchObject({ presentPages: pages, parentPages: 0, lazyPages: 0 });

  await prover.dirty(PAGES_PER_SECOND);
  await prover.rewritten(REWRITTEN_PAGES);
  await prover.dirty(0);
  await lab.docker(node, "pause", dockerId);
  const second = await toUs({ name: "second", parent: "first", isPreDump: true });
  const last = await toUs({ name: "last", parent: "second" });
  const whole = await toCriu({ name: "whole" });
  await lab.docker(node, "unpause", dockerId);
  expect(second.totals.parentPages).toBeGreaterThan(pages / 2);
  expect(second.totals.presentPages).toBeGreaterThan(REWRITTEN_PAGES);
  expect(second.totals.presentPages).toBeLessThan(pages / 2);
  expect(last.totals.parentPages).toBeGreaterThan(pages / 2);
  expect(await demandSame(last.directory, whole)).toBeGreaterThanOrEqual(pages);
  await prover.check();
});

/** As many as the prover makes, and 2 MiB of each. */
const TABLE_PAGES = 5 * 512;

test("CRIU's rounds miss what mremap moves, a page table at a time: why the agent makes its own", async () => {
  await prover.makeTables();
  await toUs({ name: "first", isPreDump: true });
  await prover.rotateTables();
  await lab.docker(node, "pause", dockerId);
  const { directory: last } = await toUs({ name: "last", parent: "first" });
  const whole = await toCriu({ name: "whole" });
  await lab.docker(node, "unpause", dockerId);
  const { missing, differingPages } = await compare(last, whole);
  expect(missing).toEqual([]);
  expect(differingPages).toBeGreaterThanOrEqual(TABLE_PAGES);
  await prover.check();
});

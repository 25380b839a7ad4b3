/**
 * Runs in a node: a container is dumped lazily and restored beside itself, frozen; its memory comes from the original,
 * which stays frozen, through drayage-fault-server. The last line on stdout is what lazy-restore.e2e.test.ts wants to
 * know.
 *
 *   lazy-restore-driver ORIGINAL_ID COPY_ID MIGRATION_ID
 */
import { mkdir, open, readdir, readFile } from "node:fs/promises";
import { processesWithAlignedStack } from "../../agent/src/criu/aligned-stacks.ts";
import { dumpContainer } from "../../agent/src/criu/dump-container.ts";
import { numberOf, readFields, readRecords } from "../../agent/src/criu/protobuf-fields.ts";
import { cgroupPids, isFrozen } from "../../agent/src/host/cgroup.ts";
import { runCommand } from "../../agent/src/host/run-command.ts";
import { DOCKER_RUNC_ROOT, runcContainer } from "../../agent/src/host/runc-state.ts";
import { destinationFiles } from "../../agent/src/network-lock/destination-files.ts";
import { FaultServer } from "../../agent/src/post-copy/fault-server.ts";
import { MemoryImageWriter } from "../../agent/src/memory-image/memory-image-writer.ts";
import { PAGE_BYTES } from "../../agent/src/memory-image/page-range.ts";
import { startPageServer } from "../../agent/src/page-server/page-server.ts";
import { MAX_PAGES_PER_FRAME, type PageRange } from "../../agent/src/post-copy/protocol.ts";
import { openRuntimeGate } from "../../agent/src/runtime-gate/open-runtime-gate.ts";

const [originalId = "", copyId = "", migrationId = ""] = process.argv.slice(2);
const LIMIT_MS = 60_000;
/** CRIU's flag of a pagemap entry whose pages may come later. */
const PE_LAZY = 2;
const directory = `/run/drayage/images/${migrationId}`;
const imageDirectory = `${directory}/images`;
const workDirectory = `${directory}/work`;

const original = await runcContainer(DOCKER_RUNC_ROOT, originalId);
if (original === null) throw new Error("no original");

/** By pid inside the container. */
async function lazyRanges(): Promise<Map<number, PageRange[]>> {
  const tasks = new Map<number, PageRange[]>();
  for (const name of await readdir(imageDirectory)) {
    const task = /^pagemap-(\d+)\.img$/.exec(name)?.[1];
    if (task === undefined) continue;
    const ranges: PageRange[] = [];
    // The first record says in which file the pages are.
    for (const record of readRecords(await readFile(`${imageDirectory}/${name}`)).slice(1)) {
      const fields = readFields(record);
      const range = { start: numberOf(fields, 1), pages: numberOf(fields, 5, numberOf(fields, 2)) };
      if ((numberOf(fields, 4) & PE_LAZY) !== 0) ranges.push(range);
    }
    tasks.set(Number(task), ranges);
  }
  return tasks;
}

/** What the original has at an address of one of its tasks. */
async function openMemories(cgroup: string): Promise<(task: number, start: number, pages: number) => Promise<Buffer>> {
  const files = new Map<number, Awaited<ReturnType<typeof open>>>();
  for (const pid of await cgroupPids(cgroup)) {
    const inner = /^NSpid:.*\s(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1];
    files.set(Number(inner), await open(`/proc/${pid}/mem`));
  }
  return async (task, start, pages) => {
    const bytes = Buffer.alloc(pages * PAGE_BYTES);
    const read = await files.get(task)?.read(bytes, 0, bytes.length, start);
    if (read?.bytesRead !== bytes.length) throw new Error(`task ${task} cannot be read at ${start.toString(16)}`);
    return bytes;
  };
}

/** One line asked of the prover in the copy. */
async function ask(pid: number, line: string): Promise<string> {
  const script = 'ip link set lo up; exec 3<>/dev/tcp/127.0.0.1/7000; echo "$1" >&3; head -n 1 <&3';
  const argv = ["nsenter", "-t", `${pid}`, "-n", "bash", "-c", script, "bash", line];
  return (await runCommand(argv, { deadlineMs: LIMIT_MS })).stdout.trim();
}

await runCommand(["docker", "pause", originalId]);
// Of such a process CRIU leaves nothing where it is. It is the test's to start another one.
if ((await processesWithAlignedStack(original.cgroup)).length > 0) {
  console.log(JSON.stringify({ aligned: true }));
  process.exit(0);
}
await mkdir(imageDirectory, { recursive: true, mode: 0o700 });
const pages = { path: `${directory}/pages.socket`, sink: await MemoryImageWriter.create(imageDirectory) };
const { done } = await startPageServer({ ...pages, offersRest: true, deadlineMs: LIMIT_MS });
await dumpContainer({
  dockerId: originalId,
  migrationId,
  imageDirectory,
  workDirectory: `${directory}/dump`,
  pageServerPath: pages.path,
  deadlineMs: LIMIT_MS,
});
await done;
const tasks = await lazyRanges();
const read = await openMemories(original.cgroup);
/** What the kernel says of each thread of the original, which stands still: its stack pointer is the word before the last. */
const threads = await Promise.all(
  (await cgroupPids(original.cgroup)).map(async (pid) => {
    const names = await readdir(`/proc/${pid}/task`);
    return await Promise.all(names.map((name) => readFile(`/proc/${pid}/task/${name}/syscall`, "utf8")));
  }),
);
const lazyPages = [...tasks.values()].flat().reduce((sum, { pages }) => sum + pages, 0);

let faults = 0;
let droppedPages = 0;
const server = await FaultServer.start({
  migrationId,
  workDirectory,
  controlSocket: `${directory}/faults`,
  cgroup: original.cgroup.replace(originalId, copyId),
  events: {
    onFault: (task, address) => {
      faults++;
      void read(task, address, 1).then((page) => server.pages(task, address, page, true));
    },
    onDropped: (_task, ranges) => {
      droppedPages += ranges.reduce((sum, { pages }) => sum + pages, 0);
    },
  },
});
for (const [task, ranges] of tasks) await server.ranges(task, ranges);
await server.listen();

const gate = await openRuntimeGate({ onProblem: (message, cause) => console.error(message, cause) });
const network = destinationFiles(migrationId, []);
const session = await gate.arm({ dockerId: copyId, migrationId, deadlineMs: LIMIT_MS, network });
const started = runCommand(["docker", "start", copyId], { deadlineMs: 2 * LIMIT_MS });
await session.held;
await session.release({ imageDirectory, workDirectory, lazyPages: true });
await session.imagesComplete();
await session.pagesComplete();
const copy = await session.prepared;
await server.restored;
const beforeThaw = { frozen: await isFrozen(copy.cgroup), faults };
await session.commit();
await started;

// It answers while nearly all of its memory is missing; then the rest comes, while it goes on.
const count = await ask(copy.initPid, "count");
const faultsForCount = faults;
const checking = ask(copy.initPid, "check");
for (const [task, ranges] of tasks) {
  for (const range of ranges) {
    for (let at = 0; at < range.pages; at += MAX_PAGES_PER_FRAME) {
      const start = range.start + at * PAGE_BYTES;
      const pages = Math.min(MAX_PAGES_PER_FRAME, range.pages - at);
      await server.pages(task, start, await read(task, start, pages));
    }
  }
}
const outcome = await server.ended;
const checked = await checking;
const again = await ask(copy.initPid, "check");
await gate.disarm(copyId);
console.log(
  JSON.stringify({
    threads: threads.flat(),
    beforeThaw,
    lazyPages,
    faults,
    faultsForCount,
    droppedPages,
    count,
    outcome,
    checked,
    again,
  }),
);
process.exit(0);

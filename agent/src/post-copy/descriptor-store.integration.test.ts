/** What drayage-fault-server gives systemd to hold, and what comes of it when nothing else is left. */
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { forgetOutcome, readOutcome } from "./server-unit.ts";
import { DescriptorStore } from "./testing/descriptor-store.ts";
import { buildPrograms, content, crcOf, type Programs, Stage } from "./testing/lazy-copy.ts";

const PAGES = 200;

let programs: Programs;
beforeAll(async () => {
  programs = await buildPrograms();
});
afterAll(() => rm(programs.directory, { recursive: true }));

const pageAt = (start: number, index: number) => start + index * PAGE_BYTES;

/**
 * Both of its processes, neither of which has a moment to do something about it: the keeper is stopped, so that it does
 * not see the worker's end, and the worker, which would see the keeper's, goes first.
 */
async function killAtOnce(stage: Stage): Promise<void> {
  await expect.poll(() => stage.serverPids()).toHaveLength(2);
  const [keeper = 0, worker = 0] = await stage.serverPids();
  process.kill(keeper, "SIGSTOP");
  for (const pid of [worker, keeper]) process.kill(pid, "SIGKILL");
  await expect.poll(() => stage.serverPids()).toEqual([]);
}

/** Once so many threads of the copy wait for memory. */
async function threadsWait(stage: Stage, count: number): Promise<void> {
  await expect
    .poll(async () => (await stage.copy.waits()).filter((call) => call.includes("userfault")).length)
    .toBe(count);
}

describe("systemd holds", () => {
  test("a descriptor of everything that lacks memory, and of nothing else", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    const start = await stage.restore(PAGES);
    await store.holds(1);
    const { child } = await stage.copy.fork(start, PAGES);
    await store.holds(2);
    await stage.send(start, PAGES);
    expect(await child).toBe(crcOf(content(start, PAGES)));
    expect(await stage.agent.ended).toBe("done");
    await store.holds(0);
  });

  test("it before the restore is told of as finished, if it answers in time", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    store.stop();
    const start = await stage.restore(PAGES);
    expect(stage.serverSaid).toContain("systemd does not answer");
    store.goOn();
    await store.holds(1);
    await stage.send(start, PAGES);
    expect(await stage.agent.ended).toBe("done");
  });

  test("each of them once, also when a worker was killed", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    const start = await stage.restore(PAGES);
    const [, worker = 0] = await stage.serverPids();
    process.kill(worker, "SIGKILL");
    await expect.poll(() => stage.serverSaid).toContain("goes on");
    const { child } = await stage.copy.fork(start, PAGES);
    await store.holds(2);
    await stage.send(start, PAGES);
    expect(await child).toBe(crcOf(content(start, PAGES)));
    expect(await stage.agent.ended).toBe("done");
    await store.holds(0);
    expect(store.most).toBe(2);
  });

  test("no copy up, however slowly it lets go", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    const start = await stage.restore(PAGES);
    store.stop();
    await stage.send(start, PAGES);
    // Each of these tells of an event, and waits until somebody has read it.
    const children: Promise<string>[] = [];
    for (let times = 0; times < 50; times++) children.push((await stage.copy.fork(start, PAGES)).child);
    const moved = await stage.copy.address("move", start, PAGES);
    await stage.copy.order("unmap", pageAt(moved, 100), 100);
    expect(new Set(await Promise.all(children))).toEqual(new Set([crcOf(content(start, PAGES))]));
    expect(await stage.copy.order("crc", moved, 100)).toBe(crcOf(content(start, 100)));
    store.goOn();
    expect(await stage.agent.ended).toBe("done");
  });

  test("what is being born while memory comes", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    const start = await stage.restore(PAGES);
    const children: Promise<string>[] = [];
    for (let index = 0; index < PAGES; index++) {
      await stage.send(pageAt(start, index), 1);
      children.push((await stage.copy.fork(start, PAGES)).child);
    }
    expect(new Set(await Promise.all(children))).toEqual(new Set([crcOf(content(start, PAGES))]));
    expect(await stage.agent.ended).toBe("done");
    await store.holds(0);
    expect(store.most).toBeGreaterThan(1);
  });
});

describe("both processes killed at once", () => {
  test("the copy is frozen and nobody reads what is missing, until it is dead", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    const start = await stage.restore(PAGES);
    const read: string[] = [];
    for (const [name, index] of [
      ["crc", 10],
      ["read-in-kernel", 20],
    ] as const)
      void stage.copy.inThread(name, pageAt(start, index), 1).then(
        (crc) => read.push(crc),
        () => undefined,
      );
    await threadsWait(stage, 2);
    await killAtOnce(stage);
    const again = stage.startAgain();
    await expect(stage.agent.ended).rejects.toThrow("the copy stands still, without all of its memory");
    expect(await stage.frozen()).toBe(true);
    expect(store.held).toBe(1);
    await threadsWait(stage, 2);
    await expect(stage.attach()).rejects.toMatchObject({ reason: "NOT_FOUND" });
    // It stays so, whoever was about to thaw it.
    await writeFile(join(stage.directory, "cgroup.freeze"), "0");
    await expect.poll(() => stage.frozen()).toBe(true);
    // Nor does it end when it is asked to.
    for (const pid of await stage.serverPids()) process.kill(pid, "SIGTERM");
    await threadsWait(stage, 2);
    await stage.empty();
    expect(await again).toBe(0);
    expect(read).toEqual([]);
  });

  test("again: the next one stays as well", async () => {
    await using store = await DescriptorStore.open(programs);
    await using stage = await Stage.open(programs, {}, store.socket);
    await stage.restore(PAGES);
    await killAtOnce(stage);
    const killed = stage.startAgain();
    await expect(stage.agent.ended).rejects.toThrow("killed");
    await forgetOutcome(stage);
    for (const pid of await stage.serverPids()) process.kill(pid, "SIGKILL");
    expect(await killed).toBeNull();
    const again = stage.startAgain();
    await expect.poll(() => stage.serverPids()).toHaveLength(1);
    expect(await readOutcome(stage)).toBe("killed");
    await stage.empty();
    expect(await again).toBe(0);
    expect((await readdir(stage.directory)).filter((name) => name.startsWith("control"))).toEqual([]);
  });

  test("when all was over: it leaves the copy alone", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(PAGES);
    await stage.send(start, PAGES);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.serverEnded).toBe(0);
    expect(await stage.startAgain()).toBe(0);
    await rm(`${stage.controlSocket}.outcome`);
    expect(await stage.startAgain()).toBe(0);
    expect(await stage.frozen()).toBe(false);
  });
});

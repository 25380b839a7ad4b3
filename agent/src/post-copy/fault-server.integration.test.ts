/** drayage-fault-server with this kernel's userfaultfd, and a program in the place of CRIU and the application. */
import { readFile, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unlessGone } from "../host/unless-gone.ts";
import type { FaultServerState } from "./fault-server.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import type { PageRange } from "./protocol.ts";
import { buildPrograms, content, crcOf, type Programs, Stage, TASK, zeros } from "./testing/lazy-copy.ts";

const PAGES = 600;

let programs: Programs;
beforeAll(async () => {
  programs = await buildPrograms();
});
afterAll(() => rm(programs.directory, { recursive: true }));

/** What the server tells, in a list, and somebody who waits for it. */
class Told {
  readonly faults: number[] = [];
  readonly dropped: PageRange[] = [];
  readonly states: FaultServerState[] = [];
  readonly tasks: number[] = [];
  #changed = Promise.withResolvers<void>();

  readonly onState = (state: FaultServerState) => this.#note(() => this.states.push(state));
  readonly onFault = (_task: number, address: number) => this.#note(() => this.faults.push(address));
  readonly onTask = (task: number, zombie: boolean) => this.#note(() => this.tasks.push(zombie ? -task : task));
  readonly onDropped = (_task: number, ranges: readonly PageRange[]) => this.#note(() => this.dropped.push(...ranges));

  #note(take: () => void): void {
    take();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async until(reached: () => boolean): Promise<void> {
    while (!reached()) await this.#changed.promise;
  }

  get droppedPages(): number {
    return this.dropped.reduce((sum, { pages }) => sum + pages, 0);
  }
}

const pageAt = (start: number, index: number) => start + index * PAGE_BYTES;
const remainingPages = (state: FaultServerState | undefined) =>
  [...(state?.remaining.values() ?? [])].flat().reduce((sum, { pages }) => sum + pages, 0);

async function sendSingly(stage: Stage, start: number, pages: number): Promise<void> {
  for (let index = 0; index < pages; index++) {
    const from = pageAt(start, index);
    await stage.agent.pages(TASK, from, content(from, 1));
  }
}

/** Everything that is asked for comes, as from an agent that only answers. */
function answerFaults(stage: () => Stage): { onFault: (task: number, address: number) => void } {
  return { onFault: (_task, address) => void stage().send(address, 1, true) };
}

describe("a copy has its memory", () => {
  test("when all pages come before anybody needs one", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(PAGES);
    await stage.send(start, PAGES);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.serverEnded).toBe(0);
    expect(await stage.copy.order("crc", start, PAGES)).toBe(crcOf(content(start, PAGES)));
    expect(await stage.frozen()).toBe(false);
  });

  test("when it needs every page first, from two threads", async () => {
    await using stage: Stage = await Stage.open(
      programs,
      answerFaults(() => stage),
    );
    const start = await stage.restore(PAGES);
    const both = [stage.copy.inThread("crc", start, PAGES), stage.copy.inThread("crc", start, PAGES)];
    expect(new Set(await Promise.all(both))).toEqual(new Set([crcOf(content(start, PAGES))]));
    expect(await stage.agent.ended).toBe("done");
  });

  test("when pages come backwards, twice, and in part as zeros", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(PAGES);
    for (let index = PAGES - 1; index >= 100; index -= 1) await stage.send(pageAt(start, index), 1);
    await stage.send(pageAt(start, 300), 300);
    await stage.agent.zeros(TASK, [
      { start: pageAt(start, 10), pages: 90 },
      { start, pages: 10 },
    ]);
    expect(await stage.agent.ended).toBe("done");
    const expected = crcOf(zeros(100), content(pageAt(start, 100), PAGES - 100));
    expect(await stage.copy.order("crc", start, PAGES)).toBe(expected);
  });

  test("when it lacks single pages only, and one frame covers them all", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.copy.address("map", 256);
    const odd = Array.from({ length: 128 }, (_, index) => ({ start: pageAt(start, 2 * index + 1), pages: 1 }));
    await stage.agent.ranges(TASK, odd);
    await stage.agent.listen();
    await stage.copy.order("hand-over", TASK);
    await stage.copy.order("finish");
    await stage.agent.restored;
    // What it has never had are zeros.
    expect(await stage.copy.order("crc", start, 1)).toBe(crcOf(zeros(1)));
    await stage.send(start, 256);
    expect(await stage.agent.ended).toBe("done");
    const pages = Array.from({ length: 256 }, (_, index) =>
      index % 2 === 1 ? content(pageAt(start, index), 1) : zeros(1),
    );
    expect(await stage.copy.order("crc", start, 256)).toBe(crcOf(...pages));
  });

  test("when the kernel itself reads it for a system call", async () => {
    await using stage: Stage = await Stage.open(
      programs,
      answerFaults(() => stage),
    );
    const start = await stage.restore(2);
    expect(await stage.copy.inThread("read-in-kernel", start)).toBe(crcOf(content(start, 1)));
  });

  test("over the borders of mappings", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(256);
    await stage.copy.order("protect", pageAt(start, 100), 7);
    await stage.copy.order("protect", pageAt(start, 201), 1);
    await stage.send(start, 256);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", start, 256)).toBe(crcOf(content(start, 256)));
  });

  test("in a million scattered pages", async () => {
    await using stage = await Stage.open(programs);
    const pages = 1 << 20;
    const start = await stage.copy.address("map", pages);
    const scattered = Array.from({ length: pages / 2 }, (_, index) => ({ start: pageAt(start, 2 * index), pages: 1 }));
    await stage.agent.ranges(TASK, scattered);
    await stage.agent.listen();
    await stage.copy.order("hand-over", TASK);
    await stage.copy.order("finish");
    await stage.agent.restored;
    expect(remainingPages(stage.agent.state)).toBe(pages / 2);
    // All of them as zeros, so that the test does not need so much memory; but one.
    const chosen = pageAt(start, 777_776);
    await stage.send(chosen, 1);
    await stage.agent.zeros(TASK, scattered);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", chosen, 1)).toBe(crcOf(content(chosen, 1)));
  });
});

describe("while memory is missing", () => {
  test("a child process gets what its parent lacked", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(PAGES);
    await stage.send(start, 100);
    const first = await stage.copy.fork(start, PAGES);
    await stage.send(pageAt(start, 100), 100);
    const second = await stage.copy.fork(start, PAGES);
    await stage.send(pageAt(start, 200), PAGES - 200);
    expect(await stage.agent.ended).toBe("done");
    const expected = crcOf(content(start, PAGES));
    expect(await first.child).toBe(expected);
    expect(await second.child).toBe(expected);
    expect(await stage.copy.order("crc", start, PAGES)).toBe(expected);
  });

  test("what is moved keeps its content, also there and back", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(PAGES);
    const moved = await stage.copy.address("move", pageAt(start, 100), 200);
    expect(await stage.copy.address("move-to", moved, 50, pageAt(start, 150))).toBe(pageAt(start, 150));
    await stage.send(start, PAGES);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", start, 100)).toBe(crcOf(content(start, 100)));
    expect(await stage.copy.order("crc", pageAt(start, 150), 50)).toBe(crcOf(content(pageAt(start, 100), 50)));
    const rest = [pageAt(moved, 50), 150] as const;
    expect(await stage.copy.order("crc", ...rest)).toBe(crcOf(content(pageAt(start, 150), 150)));
    expect(await stage.copy.order("crc", pageAt(start, 300), 300)).toBe(crcOf(content(pageAt(start, 300), 300)));
  });

  test("no page is lost on its way while memory moves and children are born", async () => {
    const pages = 3000;
    await using stage = await Stage.open(programs);
    const start = await stage.restore(pages);
    const children: Promise<string>[] = [];
    let sent = false;
    const sending = sendSingly(stage, start, pages - 1).finally(() => {
      sent = true;
    });
    let at = start;
    for (let round = 0; !sent; round++) {
      at = await stage.copy.address("move", at, pages);
      if (round % 16 === 0) children.push((await stage.copy.fork(at, pages)).child);
    }
    await sending;
    await stage.send(pageAt(start, pages - 1), 1);
    expect(await stage.agent.ended).toBe("done");
    const expected = crcOf(content(start, pages));
    expect(await stage.copy.order("crc", at, pages)).toBe(expected);
    expect(new Set(await Promise.all(children))).toEqual(new Set([expected]));
  });

  test("what is moved over something missing takes its place", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    await stage.copy.order("move-to", start, 40, pageAt(start, 60));
    await told.until(() => told.droppedPages === 40);
    expect(told.dropped).toEqual([{ start: pageAt(start, 60), pages: 40 }]);
    await stage.send(start, 100);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", pageAt(start, 60), 40)).toBe(crcOf(content(start, 40)));
    expect(await stage.copy.order("crc", pageAt(start, 40), 20)).toBe(crcOf(content(pageAt(start, 40), 20)));
  });

  test("moved and then unmapped, it is dropped", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    const moved = await stage.copy.address("move", start, 100);
    await stage.copy.order("unmap", pageAt(moved, 10), 90);
    await told.until(() => told.droppedPages === 90);
    expect(told.dropped).toEqual([{ start: pageAt(start, 10), pages: 90 }]);
    await stage.send(start, 10);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", moved, 10)).toBe(crcOf(content(start, 10)));
  });

  test("what is discarded reads as zeros, and is written anew", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    const waiting = stage.copy.inThread("crc", pageAt(start, 20), 1);
    await told.until(() => told.faults.length === 1);
    await stage.copy.order("discard", pageAt(start, 10), 20);
    expect(await waiting).toBe(crcOf(zeros(1)));
    await stage.copy.order("write", pageAt(start, 12), 0x77);
    await told.until(() => told.droppedPages === 20);
    await stage.send(start, 100);
    expect(await stage.agent.ended).toBe("done");
    const twelfth = zeros(1);
    twelfth[0] = 0x77;
    const expected = crcOf(content(start, 10), zeros(2), twelfth, zeros(17), content(pageAt(start, 30), 70));
    expect(await stage.copy.order("crc", start, 100)).toBe(expected);
  });

  test("what is unmapped is dropped, and memory that grows into the place is zero", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    await stage.copy.order("unmap", pageAt(start, 60), 40);
    await told.until(() => told.droppedPages === 40);
    await stage.copy.order("grow", start, 60, 80);
    await stage.send(pageAt(start, 50), 50);
    expect(await stage.copy.order("crc", pageAt(start, 60), 20)).toBe(crcOf(zeros(20)));
    await stage.send(start, 50);
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", start, 60)).toBe(crcOf(content(start, 60)));
  });

  test("the end of the process is the end of the server", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    await stage.send(start, 10);
    // It has read them: they are in their places, not on their way.
    await stage.copy.order("crc", start, 10);
    await stage.copy.kill();
    expect(await stage.agent.ended).toBe("done");
    expect(told.droppedPages).toBe(90);
  });

  test("the end of a parent leaves the child what it lacks", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(100);
    const { child } = await stage.copy.fork(start, 100);
    const moved = await stage.copy.address("move", start, 50);
    await stage.copy.order("unmap", moved, 50);
    await stage.copy.order("unmap", pageAt(start, 50), 50);
    await stage.send(start, 100);
    expect(await child).toBe(crcOf(content(start, 100)));
    expect(await stage.agent.ended).toBe("done");
  });
});

describe("the agent", () => {
  test("is asked once for what several threads wait for, and again on another connection", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(100);
    await stage.send(start, 30);
    const waiting = [1, 2, 3].map(() => stage.copy.inThread("crc", pageAt(start, 50), 1));
    await told.until(() => told.faults.length === 1);
    stage.agent.close();

    const again = new Told();
    stage.agent = await stage.attach(again);
    await again.until(() => again.faults.length === 1);
    expect(again.faults).toEqual([pageAt(start, 50)]);
    expect(again.states).toMatchObject([{ listening: true, restored: true, failed: false, tasks: [TASK] }]);
    expect([...(again.states[0]?.remaining ?? [])]).toEqual([[TASK, [{ start: pageAt(start, 30), pages: 70 }]]]);
    await stage.send(pageAt(start, 50), 1, true);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([crcOf(content(pageAt(start, 50), 1))]));
    await stage.send(start, 100);
    expect(await stage.agent.ended).toBe("done");
    expect(told.faults).toHaveLength(1);
    expect(await stage.copy.order("crc", start, 100)).toBe(crcOf(content(start, 100)));
  });

  test("may be away while the copy works", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(200);
    stage.agent.close();
    const moved = await stage.copy.address("move", start, 100);
    await stage.copy.order("discard", pageAt(start, 100), 10);
    const { child } = await stage.copy.fork(moved, 100);
    const waiting = stage.copy.inThread("crc", moved, 100);
    const told = new Told();
    stage.agent = await stage.attach(told);
    const missing = [
      { start, pages: 100 },
      { start: pageAt(start, 110), pages: 90 },
    ];
    expect([...(told.states[0]?.remaining ?? [])]).toEqual([[TASK, missing]]);
    await stage.send(start, 200);
    expect(await waiting).toBe(crcOf(content(start, 100)));
    expect(await child).toBe(crcOf(content(start, 100)));
    expect(await stage.agent.ended).toBe("done");
  });

  test("that was away at the end learns of it", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(10);
    stage.agent.close();
    await stage.copy.order("unmap", start, 10);
    expect(await stage.serverEnded).toBe(0);
    stage.agent = await stage.attach();
    expect(await stage.agent.ended).toBe("done");
  });

  test("that says it has sent all is told what it has not", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(10);
    await stage.send(start, 9);
    const before = told.states.length;
    await stage.agent.end();
    await told.until(() => told.states.length > before);
    expect([...(told.states.at(-1)?.remaining ?? [])]).toEqual([[TASK, [{ start: pageAt(start, 9), pages: 1 }]]]);
  });

  test("that sends pages which nobody asked for before the restore is finished, sends them again", async () => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    await stage.agent.ranges(TASK, [{ start: 1 << 20, pages: 10 }]);
    await stage.agent.ranges(8, []);
    await stage.agent.listen();
    const before = told.states.length;
    await stage.send(1 << 20, 10, true);
    const other = await stage.copy.address("map", 1);
    await stage.copy.order("hand-over", TASK);
    await stage.copy.order("zombie", 9);
    await stage.copy.order("map", 1);
    await stage.copy.order("hand-over", 8);
    await stage.copy.order("finish");
    await told.until(() => told.states.length > before);
    expect(told.tasks).toEqual([TASK, -9, 8]);
    expect(remainingPages(told.states.at(-1))).toBe(10);
    expect(other).toBeGreaterThan(0);
  });

  test("starts with its ranges anew until it has given them all", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.copy.address("map", 10);
    await stage.agent.ranges(TASK, [{ start, pages: 10 }]);
    stage.agent.close();
    stage.agent = await stage.attach();
    expect(stage.agent.state).toMatchObject({ listening: false, tasks: [] });
    await stage.agent.ranges(TASK, [{ start, pages: 5 }]);
    await stage.agent.listen();
    expect([...stage.agent.state.remaining]).toEqual([[TASK, [{ start, pages: 5 }]]]);
  });

  const frame = (type: number, ...words: number[]) =>
    Buffer.from(new Uint32Array([type, words.length * 4, ...words]).buffer);
  test.each([
    ["a type that does not exist", frame(99)],
    ["a length beyond all bounds", Buffer.from(new Uint32Array([3, 0xffff_ffff]).buffer)],
    ["half a range", frame(4, TASK, 0, 1)],
    ["ranges after listen", frame(1, TASK, 0)],
    ["pages of a task that there is not", frame(4, 999, 0, 0, 0, 1, 0)],
    ["an address that is none of a page", frame(4, TASK, 0, 1, 0, 1, 0)],
    ["another number of pages than it has", frame(3, TASK, 2, 0, 0, 0)],
    ["fewer bytes than it said", Buffer.concat([frame(3, TASK, 1, 0, 0, 0)])],
  ])("is refused with %s, and the server lives", async (_what, bytes) => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(10);
    stage.agent.close();
    const stranger = connect(stage.controlSocket);
    stranger.on("error", () => {});
    stranger.resume();
    const closed = new Promise((resolve) => stranger.once("close", resolve));
    stranger.write(bytes);
    await closed;
    stage.agent = await stage.attach();
    expect(remainingPages(stage.agent.state)).toBe(10);
    await stage.send(start, 10);
    expect(await stage.agent.ended).toBe("done");
  });

  test("alone may connect", async () => {
    await using stage = await Stage.open(programs);
    expect((await stat(stage.controlSocket)).mode & 0o777).toBe(0o600);
  });
});

describe("CRIU", () => {
  test("that goes before it is finished has failed, and the server stays until the tasks are dead", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.copy.address("map", 10);
    await stage.agent.ranges(TASK, [{ start, pages: 10 }]);
    await stage.agent.listen();
    await stage.copy.order("hand-over", TASK);
    await stage.copy.order("hang-up");
    await expect(stage.agent.restored).rejects.toMatchObject({ reason: "CRIU_RESTORE_FAILED" });
    await stage.copy.kill();
    expect(await stage.agent.ended).toBe("failed");
  });

  test("finds no server before all ranges are known", async () => {
    await using stage = await Stage.open(programs);
    await stage.copy.order("map", 10);
    await expect(stage.copy.order("hand-over", TASK)).rejects.toThrow("ended");
  });

  test("that hands over a task which nobody has told of, is hung up on", async () => {
    await using stage = await Stage.open(programs);
    await stage.agent.ranges(8, []);
    await stage.agent.listen();
    await stage.copy.order("map", 10);
    await stage.copy.order("hand-over", TASK);
    await expect(stage.agent.restored).rejects.toMatchObject({ reason: "CRIU_RESTORE_FAILED" });
  });

  test("whose tasks fault in the middle of the restore, gets these pages", async () => {
    await using stage: Stage = await Stage.open(
      programs,
      answerFaults(() => stage),
    );
    const start = await stage.copy.address("map", 10);
    await stage.agent.ranges(TASK, [{ start, pages: 10 }]);
    await stage.agent.listen();
    await stage.copy.order("hand-over", TASK);
    expect(await stage.copy.inThread("crc", pageAt(start, 3), 1)).toBe(crcOf(content(pageAt(start, 3), 1)));
  });
});

describe("killed", () => {
  /** Of the two, the one that stands guard, or the other; once they are two. */
  async function kill(stage: Stage, which: "keeper" | "worker"): Promise<void> {
    const both = async () => {
      const pids = await stage.serverPids();
      const tracers = await Promise.all(pids.map(tracerOf));
      const worker = pids.find((_pid, index) => pids.includes(tracers[index] ?? 0));
      const keeper = pids.find((pid) => pid !== worker);
      return pids.length === 2 && worker !== undefined && keeper !== undefined ? { worker, keeper } : null;
    };
    await expect.poll(both).not.toBeNull();
    const pids = await both();
    if (pids !== null) process.kill(pids[which], "SIGKILL");
  }

  /** 0 if nobody traces it, or it is gone. */
  async function tracerOf(pid: number): Promise<number> {
    const status = await unlessGone(readFile(`/proc/${pid}/status`, "utf8"));
    return Number(/^TracerPid:\t(\d+)$/m.exec(status ?? "")?.[1] ?? 0);
  }

  test.each(["worker", "keeper"] as const)("the %s is replaced, and nothing is lost", async (which) => {
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(PAGES);
    const moved = await stage.copy.address("move", start, 100);
    const { child } = await stage.copy.fork(moved, 100);
    await stage.send(start, 50);
    const waiting = stage.copy.inThread("crc", moved, 100);
    await told.until(() => told.faults.length > 0);
    const states = told.states.length;
    await kill(stage, which);
    if (which === "worker") await told.until(() => told.states.length > states);
    else await expect.poll(() => stage.serverSaid).toContain("stands in its place");
    await stage.send(start, PAGES);
    expect(await waiting).toBe(crcOf(content(start, 100)));
    expect(await child).toBe(crcOf(content(start, 100)));
    expect(await stage.agent.ended).toBe("done");
    expect(await stage.copy.order("crc", pageAt(start, 100), 500)).toBe(crcOf(content(pageAt(start, 100), 500)));
    expect(await stage.frozen()).toBe(false);
  });

  test("again and again, in turn, while pages come, children are born and memory moves", async () => {
    const [pages, rounds] = [4000, 6];
    const told = new Told();
    await using stage = await Stage.open(programs, told);
    const start = await stage.restore(pages);
    const children: Promise<string>[] = [];
    let at = start;
    for (let round = 0; round < rounds; round++) {
      // A part of them, page by page; what is lost on the way comes at the end.
      const sending = sendSingly(stage, pageAt(start, round * 500), 500);
      at = await stage.copy.address("move", at, pages);
      children.push((await stage.copy.fork(at, pages)).child);
      const states = told.states.length;
      await kill(stage, "worker");
      await told.until(() => told.states.length > states);
      await sending;
      if (round % 2 === 1) {
        const replaced = () => stage.serverSaid.split("stands in its place").length;
        const before = replaced();
        await kill(stage, "keeper");
        await expect.poll(replaced).toBe(before + 1);
      }
    }
    expect(remainingPages(told.states.at(-1))).toBeGreaterThanOrEqual(pages - rounds * 500);
    await stage.send(start, pages);
    expect(await stage.agent.ended).toBe("done");
    const expected = crcOf(content(start, pages));
    expect(await stage.copy.order("crc", at, pages)).toBe(expected);
    expect(new Set(await Promise.all(children))).toEqual(new Set([expected]));
  });

  test("by SIGTERM it does not end, unless there is nothing to lose", async () => {
    await using stage = await Stage.open(programs);
    const start = await stage.restore(10);
    for (const pid of await stage.serverPids()) process.kill(pid, "SIGTERM");
    await stage.send(start, 10);
    expect(await stage.agent.ended).toBe("done");

    await using idle = await Stage.open(programs);
    await idle.agent.ranges(TASK, []);
    await idle.agent.listen();
    for (const pid of await idle.serverPids()) process.kill(pid, "SIGTERM");
    expect(await idle.serverEnded).toBe(0);
  });
});

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { SharedObject } from "./shared-object.ts";

const COMPILE = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"];
/** Pages of its object: the last is that of its end. */
const PAGES = 4096;

let directory: string;
let program: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "shared-object-"));
  program = join(directory, "shared-memory");
  await runCommand([...COMPILE, "-o", program, join(import.meta.dirname, "testing/shared-memory.c")], {
    deadlineMs: 60_000,
  });
});
afterAll(async () => await rm(directory, { recursive: true }));

interface Holder {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly mapping: { readonly start: number; readonly end: number };
  readonly lines: AsyncIterator<string>;
}

/** A process with an object in which a child of it has written these ranges; it has touched none of it. */
async function holder(...ranges: string[]): Promise<Holder> {
  const process = spawn(program, ranges, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: process.stdout })[Symbol.asyncIterator]();
  const said = String((await lines.next()).value);
  const [start = 0, end = 0] = said.split(" ").map((word) => Number.parseInt(word, 16));
  if (!(end > start)) throw new Error(`it has not said where its memory is: ${said}`);
  return { process, pid: process.pid as number, mapping: { start, end }, lines };
}

/** Ends it. */
async function end({ process }: Holder): Promise<void> {
  const ended = new Promise((resolve) => process.once("exit", resolve));
  process.stdin?.end();
  await ended;
}

async function residentSharedKb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^RssShmem:\s+(\d+) kB$/m.exec(status)?.[1]);
}

test("what others have written is found and read, and the process is none the richer", async () => {
  const it = await holder("0:1", "3:4", "1000:513", `${PAGES - 1}:1`);
  try {
    const before = await residentSharedKb(it.pid);
    const object = SharedObject.open(it.pid, it.mapping);
    if (object === null) throw new Error("there is none");
    const spans = [...object.spans()];
    expect(spans).toEqual([
      { vaddr: 0, pages: 1 },
      { vaddr: 3 * PAGE_BYTES, pages: 4 },
      { vaddr: 1000 * PAGE_BYTES, pages: 513 },
      { vaddr: (PAGES - 1) * PAGE_BYTES, pages: 1 },
    ]);
    for (const { vaddr, pages } of spans) {
      const space = Buffer.alloc(pages * PAGE_BYTES);
      expect(object.read(vaddr, space)).toBe(space.length);
      for (let page = 0; page < pages; page++) {
        const written = ((vaddr / PAGE_BYTES + page) % 255) + 1;
        expect(space.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES).every((byte) => byte === written)).toBe(true);
      }
    }
    expect(object.read((PAGES - 1) * PAGE_BYTES, Buffer.alloc(2 * PAGE_BYTES))).toBe(PAGE_BYTES);
    object.close();
    expect(await residentSharedKb(it.pid)).toBe(before);
  } finally {
    await end(it);
  }
});

test("one that ends within a page, and grows while it is looked at, has whole pages only", async () => {
  const it = await holder("5000+20000");
  try {
    const object = SharedObject.open(it.pid, it.mapping);
    if (object === null) throw new Error("there is none");
    const spans = object.spans();
    expect(spans.next().value).toEqual({ vaddr: 0, pages: 1 });
    it.process.stdin?.write("x");
    expect((await it.lines.next()).value).toBe("appended");
    expect([...spans]).toEqual([{ vaddr: 2 * PAGE_BYTES, pages: 4 }]);
    object.close();
  } finally {
    await end(it);
  }
});

test("an object in which nothing was written has nothing; what is not mapped there, or of no object, is none", async () => {
  const it = await holder();
  try {
    const object = SharedObject.open(it.pid, it.mapping);
    expect(object && [...object.spans()]).toEqual([]);
    object?.close();
    expect(SharedObject.open(it.pid, { ...it.mapping, end: it.mapping.end - PAGE_BYTES })).toBeNull();
    const maps = await readFile(`/proc/${it.pid}/maps`, "utf8");
    const [, from = "", to = ""] = /^([0-9a-f]+)-([0-9a-f]+) .*shared-memory$/m.exec(maps) ?? [];
    const ofFile = { start: Number.parseInt(from, 16), end: Number.parseInt(to, 16) };
    expect(ofFile.start).toBeGreaterThan(0);
    expect(SharedObject.open(it.pid, ofFile)).toBeNull();
  } finally {
    await end(it);
  }
  expect(SharedObject.open(it.pid, it.mapping)).toBeNull();
});

import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { giveBackSuperseded } from "./give-back.ts";
import { MemoryImageReader } from "./memory-image-reader.ts";
import { encodeDelta } from "./page-delta.ts";
import { MemoryImageWriter } from "./memory-image-writer.ts";
import { type ImageId, LAZY, PAGE_BYTES, type PageRange, PARENT, PRESENT } from "./page-range.ts";
import { parsePagemap } from "./pagemap-image.ts";
import { setParent } from "./parent-link.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const BASE = 0x7f00_0000_0000;
const SPACE_PAGES = 24;

/** What a page is in a round; a number is its content. */
type PageState = number | "absent" | "lazy";
/** What becomes of a page from one round to the next. */
type Change = number | "absent" | "lazy" | "keep";

let root = "";

async function round(name: string, parent?: string): Promise<string> {
  const directory = join(root, name);
  await mkdir(directory);
  if (parent !== undefined) await setParent(directory, parent);
  return directory;
}

function page(letter: number): Buffer {
  return Buffer.alloc(PAGE_BYTES, letter);
}

function rangeAt(index: number, flags: number, pages = 1): PageRange {
  return { vaddr: BASE + index * PAGE_BYTES, pages, flags };
}

/** Writes one round of changes, page by page, and returns what memory is after it. */
async function writeRound(
  writer: MemoryImageWriter,
  image: ImageId,
  changes: readonly Change[],
  before: readonly PageState[],
): Promise<PageState[]> {
  const hasParent = await writer.open(image);
  const after: PageState[] = [];
  for (const [index, change] of changes.entries()) {
    const old = before[index] ?? "absent";
    const kept = change === "keep" && hasParent && typeof old === "number";
    const state: PageState = kept ? old : change === "keep" ? index : change;
    after.push(state);
    if (state === "absent") continue;
    if (kept || state === "lazy") {
      writer.entry(rangeAt(index, kept ? PARENT : LAZY));
      continue;
    }
    writer.entry(rangeAt(index, state % 2 === 0 ? PRESENT : PRESENT | LAZY));
    const content = page(state);
    writer.data(content.subarray(0, state * 16));
    writer.data(content.subarray(state * 16));
    if (index % 5 === 0) await writer.flush();
  }
  return after;
}

async function expectMemory(directory: string, image: ImageId, states: readonly PageState[]): Promise<void> {
  const loaded = await (await MemoryImageReader.open(directory)).load(image);
  for (const [index, state] of states.entries()) {
    const vaddr = BASE + index * PAGE_BYTES;
    const location = loaded.locate(vaddr + 5);
    expect(location.kind).toBe(typeof state === "number" ? "content" : state);
    const into = page(0xee);
    if (state === "lazy") {
      await expect(loaded.read(vaddr, into)).rejects.toMatchObject({ reason: "NOT_FOUND" });
      continue;
    }
    const expected = page(state === "absent" ? 0 : state);
    await loaded.read(vaddr, into);
    expect(into.equals(expected)).toBe(true);
    if (location.kind !== "content") continue;
    const file = await open(location.path);
    await file.read(into, 0, PAGE_BYTES, location.offset);
    await file.close();
    expect(into.equals(expected)).toBe(true);
  }
  if (!states.includes("lazy")) {
    const all = Buffer.alloc((states.length + 4) * PAGE_BYTES, 0xee);
    await loaded.read(BASE - 2 * PAGE_BYTES, all);
    const content = states.map((state) => page(typeof state === "number" ? state : 0));
    const around = Buffer.alloc(2 * PAGE_BYTES);
    expect(all.equals(Buffer.concat([around, ...content, around]))).toBe(true);
  }
  await loaded.close();
}

/** Overwrites what no one reads any more. */
async function spoilSuperseded(directory: string, image: ImageId): Promise<void> {
  const reader = await MemoryImageReader.open(directory);
  const loaded = await reader.load(image);
  const superseded = loaded.superseded();
  expect([...(superseded[0]?.ranges ?? [])]).toEqual([]);
  for (const { path, ranges } of superseded) {
    const file = await open(path, "r+");
    for (const { offset, bytes } of ranges) await file.write(Buffer.alloc(bytes, 0xdd), 0, bytes, offset);
    await file.close();
  }
  await loaded.close();
}

/** What all pages images take. */
async function takenBytes(): Promise<number> {
  let blocks = 0;
  for (const directory of await readdir(root)) {
    for (const name of await readdir(join(root, directory)))
      if (name.startsWith("pages-")) blocks += (await stat(join(root, directory, name))).blocks;
  }
  return blocks * 512;
}

// A disk is written to in the background, memory is not.
describe.each(["/dev/shm", tmpdir()])("images in %s", (place) => {
  beforeEach(async () => {
    root = await mkdtemp(join(place, "memory-image-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test.each([
    ["beside those before", {}],
    ["over those before", { overwrites: () => true }],
  ])("give back memory that was written in rounds, %s", async (_, options) => {
    const change = fc.oneof(
      fc.integer({ min: 1, max: 250 }),
      fc.constantFrom<Change>("absent", "keep", "keep", "keep", "lazy"),
    );
    const roundArbitrary = fc.array(change, { minLength: SPACE_PAGES, maxLength: SPACE_PAGES });
    await fc.assert(
      fc.asyncProperty(fc.array(roundArbitrary, { minLength: 1, maxLength: 4 }), async (rounds) => {
        await rm(root, { recursive: true });
        await mkdir(root);
        let states: PageState[] = [];
        for (const [number, changes] of rounds.entries()) {
          const directory = await round(`${number}`, number === 0 ? undefined : `${number - 1}`);
          const writer = await MemoryImageWriter.create(directory, options);
          expect(await writer.parentHas(TASK)).toBe(number > 0);
          states = await writeRound(writer, TASK, changes, states);
          await writer.close();
          await expectMemory(directory, TASK, states);
        }
        const last = join(root, `${rounds.length - 1}`);
        await spoilSuperseded(last, TASK);
        await expectMemory(last, TASK, states);
      }),
      { numRuns: 25 },
    );
  });

  test.each([
    ["beside them", {}],
    ["over them", { overwrites: () => true }],
  ])("give back the room of rounds before, written %s, and of processes that are no more", async (_, options) => {
    const change = fc.oneof(fc.integer({ min: 1, max: 250 }), fc.constantFrom<Change>("absent", "keep", "keep"));
    const roundArbitrary = fc.array(change, { minLength: SPACE_PAGES, maxLength: SPACE_PAGES });
    const short: ImageId = { kind: "task", id: 2 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(roundArbitrary, { minLength: 2, maxLength: 4 }),
        fc.nat(2),
        async (rounds, livesFor) => {
          await rm(root, { recursive: true });
          await mkdir(root);
          let states: PageState[] = [];
          for (const [number, changes] of rounds.entries()) {
            const directory = await round(`${number}`, number === 0 ? undefined : `${number - 1}`);
            const writer = await MemoryImageWriter.create(directory, options);
            states = await writeRound(writer, TASK, changes, states);
            const alive = number <= livesFor;
            if (alive) await writeRound(writer, short, [7], []);
            await writer.close();
            await giveBackSuperseded(directory);
            await expectMemory(directory, TASK, states);
            if (alive) await expectMemory(directory, short, [7]);
            // How much a disk takes is known when it has been written to.
            if (place !== "/dev/shm") continue;
            const pages = states.filter((state) => typeof state === "number").length + (alive ? 1 : 0);
            expect(await takenBytes()).toBe(pages * PAGE_BYTES);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test("have their pages elsewhere where they are told to, behind a link, and those before where they were", async () => {
    const elsewhere = await round("elsewhere");
    const first = await round("0");
    const beside = await MemoryImageWriter.create(first);
    await writeRound(beside, TASK, [1, 2, 3], []);
    await beside.close();
    const second = await round("1", "0");
    const asked: number[] = [];
    const writer = await MemoryImageWriter.create(second, {
      pagesDirectory: async (writtenBytes) => {
        asked.push(writtenBytes);
        return asked.length === 1 ? elsewhere : null;
      },
    });
    await writeRound(writer, TASK, ["keep", 5, "keep", 6], [1, 2, 3]);
    await writeRound(writer, { kind: "task", id: 2 }, [7], []);
    await writer.close();
    expect(asked).toEqual([0, 2 * PAGE_BYTES]);
    const [name = ""] = await readdir(elsewhere);
    expect(await readlink(join(second, name))).toBe(`../elsewhere/${name}`);
    expect((await stat(join(elsewhere, name))).size).toBe(2 * PAGE_BYTES);
    await giveBackSuperseded(second);
    await expectMemory(second, TASK, [1, 5, 3, 6]);
    await expectMemory(second, { kind: "task", id: 2 }, [7]);
    const third = await round("2", "1");
    const last = await MemoryImageWriter.create(third);
    await writeRound(last, { kind: "task", id: 2 }, ["keep"], [7]);
    await last.close();
    await giveBackSuperseded(third);
    // The link stays; what it leads to takes no room any more.
    expect((await stat(join(elsewhere, name))).size).toBe(0);
  });

  test("have pages that repeat others, of whatever image came before", async () => {
    const directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    await writer.open(TASK);
    writer.entry(rangeAt(0, PRESENT, 2));
    const content = Buffer.concat([page(1), page(2)]);
    writer.data(content);
    await writer.repeat(rangeAt(4, PRESENT), 1);
    const other: ImageId = { kind: "task", id: 2 };
    await writer.open(other);
    writer.entry(rangeAt(0, PRESENT));
    writer.data(page(3));
    // From one image into the next: 2, 2 again, 3.
    await writer.repeat(rangeAt(1, PRESENT, 3), 1);
    await expect(writer.repeat(rangeAt(9, PRESENT, 2), 6)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    await writer.abandon();
    const second = await round("1");
    const whole = await MemoryImageWriter.create(second);
    await whole.open(TASK);
    whole.entry(rangeAt(0, PRESENT, 2));
    whole.data(content);
    await whole.repeat(rangeAt(4, PRESENT), 1);
    await whole.open(other);
    whole.entry(rangeAt(0, PRESENT));
    whole.data(page(3));
    await whole.repeat(rangeAt(1, PRESENT, 3), 1);
    await whole.close();
    await expectMemory(second, TASK, [1, 2, "absent", "absent", 2]);
    await expectMemory(second, other, [3, 2, 2, 3]);
  });

  test("have pages that are changes of what the round before has", async () => {
    const first = await MemoryImageWriter.create(await round("0"));
    await first.open(TASK);
    first.entry(rangeAt(0, PRESENT, 2));
    first.data(Buffer.concat([page(1), page(2)]));
    await first.close();
    const directory = await round("1", "0");
    const second = await MemoryImageWriter.create(directory);
    await second.open(TASK);
    second.entry(rangeAt(0, PARENT));
    const changed = page(2);
    changed[77] = 9;
    const change = encodeDelta(page(2), 0, changed, 0) as Buffer;
    await second.delta(rangeAt(1, PRESENT), change);
    await second.close();
    const loaded = await (await MemoryImageReader.open(directory)).load(TASK);
    const found = page(0);
    await loaded.read(BASE + PAGE_BYTES, found);
    expect(found.equals(changed)).toBe(true);
    await loaded.close();
    // Of another page, of none, and without a round before.
    for (const [name, parent, at] of [
      ["2", "1", 0],
      ["3", "1", 5],
      ["4", undefined, 1],
    ] as const) {
      const writer = await MemoryImageWriter.create(await round(name, parent));
      await writer.open(TASK);
      await expect(writer.delta(rangeAt(at, PRESENT), change)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
      await writer.abandon();
    }
  });

  test("take the place of what the round before has in memory, and stay in one piece", async () => {
    const first = await MemoryImageWriter.create(await round("0"));
    await writeRound(first, TASK, [1, 2, 3, 4, "absent", 6], []);
    await first.close();
    const second = await MemoryImageWriter.create(await round("1", "0"), { overwrites: () => true });
    await second.open(TASK);
    second.entry(rangeAt(0, PARENT, 2));
    const changed = page(3);
    changed[5] = 9;
    await second.delta(rangeAt(2, PRESENT), encodeDelta(page(3), 0, changed, 0) as Buffer);
    second.entry(rangeAt(3, PARENT));
    second.entry(rangeAt(5, PARENT));
    await second.close();
    const third = await MemoryImageWriter.create(await round("2", "1"), { overwrites: () => true });
    await third.open(TASK);
    third.entry(rangeAt(0, PARENT));
    third.entry(rangeAt(1, PRESENT));
    third.data(page(20));
    third.entry(rangeAt(2, PARENT));
    // Once more, over what was there, and where nothing was.
    await third.repeat(rangeAt(3, PRESENT), 0);
    await third.repeat(rangeAt(4, PRESENT), 0);
    third.entry(rangeAt(5, PARENT));
    await third.close();
    expect(third.inParent).toEqual([TASK]);
    const last = join(root, "2");
    const loaded = await (await MemoryImageReader.open(last)).load(TASK);
    const found = Buffer.alloc(6 * PAGE_BYTES);
    await loaded.read(BASE, found);
    await loaded.close();
    expect(found.equals(Buffer.concat([page(1), page(20), changed, page(20), page(20), page(6)]))).toBe(true);
    const { ranges } = parsePagemap(await readFile(join(last, "pagemap-1.img")));
    const inMemory = place === "/dev/shm";
    const expected = inMemory
      ? [rangeAt(0, PARENT, 4), rangeAt(4, PRESENT), rangeAt(5, PARENT)]
      : [rangeAt(0, PARENT), rangeAt(1, PRESENT), rangeAt(2, PARENT), rangeAt(3, PRESENT, 2), rangeAt(5, PARENT)];
    expect([...ranges]).toEqual(expected);
    expect((await stat(join(last, "pages-65537.img"))).size).toBe((inMemory ? 1 : 3) * PAGE_BYTES);
  });

  test("are several, each in its own files", async () => {
    const directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    const shared: ImageId = { kind: "shared", id: 1 };
    await writer.open(TASK);
    writer.entry(rangeAt(0, PRESENT));
    writer.data(page(1));
    await writer.open(shared);
    writer.entry(rangeAt(0, PRESENT));
    writer.data(page(2));
    await writer.open({ kind: "task", id: 2 });
    await writer.close();
    expect((await readdir(directory)).sort()).toEqual([
      ...["pagemap-1.img", "pagemap-2.img", "pagemap-shmem-1.img"],
      ...["pages-65537.img", "pages-65538.img", "pages-65539.img"],
    ]);
    const reader = await MemoryImageReader.open(directory);
    expect(await reader.images()).toHaveLength(3);
    await expectMemory(directory, shared, [2]);
    await expectMemory(directory, { kind: "task", id: 2 }, ["absent"]);
    await expect(reader.load({ kind: "task", id: 3 })).rejects.toMatchObject({ reason: "NOT_FOUND" });
  });

  test("may come in more pieces than one call of the kernel takes", async () => {
    const directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    await writer.open(TASK);
    const content = Buffer.from(Array.from({ length: PAGE_BYTES }, (_, at) => at % 251));
    writer.entry(rangeAt(0, PRESENT));
    for (let at = 0; at < PAGE_BYTES; at++) writer.data(content.subarray(at, at + 1));
    await writer.close();
    expect(await readFile(join(directory, "pages-65537.img"))).toEqual(content);
  });

  test("are on their way, not in the writer", async () => {
    const directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    await writer.open(TASK);
    writer.entry(rangeAt(0, PRESENT, 2));
    const piece = page(7);
    writer.data(piece);
    await writer.flush();
    piece.fill(8);
    writer.data(piece);
    await writer.flush();
    piece.fill(9);
    await writer.close();
    await expectMemory(directory, TASK, [7, 8]);
  });
});

describe("a writer", () => {
  beforeEach(async () => {
    root = await mkdtemp(join("/dev/shm", "memory-image-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  test("joins ranges, up to what CRIU can count", async () => {
    const directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    await writer.open(TASK);
    for (const index of [0, 1, 2, 5, 6]) writer.entry(rangeAt(index, LAZY));
    await writer.close();
    const { ranges } = parsePagemap(await readFile(join(directory, "pagemap-1.img")));
    expect([...ranges]).toEqual([rangeAt(0, LAZY, 3), rangeAt(5, LAZY, 2)]);
  });

  test.each<[string, (writer: MemoryImageWriter) => unknown]>([
    ["a range before any image", (writer) => writer.entry(rangeAt(0, PRESENT))],
    ["1 bytes that no range has", (writer) => writer.data(Buffer.alloc(1))],
    [
      "1 bytes that no range has",
      async (writer) => {
        await writer.open(TASK);
        writer.entry(rangeAt(0, LAZY));
        writer.data(Buffer.alloc(1));
      },
    ],
    [
      "4095 bytes are missing before",
      async (writer) => {
        await writer.open(TASK);
        writer.entry(rangeAt(0, PRESENT));
        writer.data(Buffer.alloc(1));
        writer.entry(rangeAt(1, PRESENT));
      },
    ],
    [
      "4096 bytes are missing at the end of an image",
      async (writer) => {
        await writer.open(TASK);
        writer.entry(rangeAt(0, PRESENT));
        await writer.close();
      },
    ],
    [
      "behind one that ends at",
      async (writer) => {
        await writer.open(TASK);
        writer.entry(rangeAt(1, LAZY));
        writer.entry(rangeAt(0, LAZY));
      },
    ],
    [
      "the parent does not have all of",
      async (writer) => {
        await writer.open(TASK);
        writer.entry(rangeAt(0, PARENT));
      },
    ],
    [
      "there is a second pagemap-1.img",
      async (writer) => {
        await writer.open(TASK);
        await writer.open(TASK);
      },
    ],
  ])("refuses %s", async (message, action) => {
    const writer = await MemoryImageWriter.create(await round("0"));
    await expect((async () => await action(writer))()).rejects.toMatchObject({
      reason: "CORRUPT_STREAM",
      message: expect.stringContaining(message) as string,
    });
    await writer.abandon();
  });

  test("refuses to repeat what comes only with the range itself", async () => {
    const parent = await MemoryImageWriter.create(await round("0"));
    await writeRound(parent, TASK, [1, 2], []);
    await parent.close();
    const writer = await MemoryImageWriter.create(await round("1", "0"), { overwrites: () => true });
    await writer.open(TASK);
    await expect(writer.repeat(rangeAt(0, PRESENT), 0)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    await writer.abandon();
  });

  test("refuses a range that is only partly in the parent", async () => {
    const parent = await MemoryImageWriter.create(await round("0"));
    await parent.open(TASK);
    for (const index of [0, 1, 3]) {
      parent.entry(rangeAt(index, PRESENT));
      parent.data(page(index));
    }
    parent.entry(rangeAt(4, LAZY));
    await parent.close();
    const writer = await MemoryImageWriter.create(await round("1", "0"));
    expect(await writer.open(TASK)).toBe(true);
    writer.entry(rangeAt(0, PARENT, 2));
    for (const range of [rangeAt(2, PARENT), rangeAt(3, PARENT, 2), rangeAt(4, PARENT), rangeAt(9, PARENT)]) {
      expect(() => writer.entry(range)).toThrow("the parent does not have all of");
    }
    expect(await writer.open({ kind: "task", id: 2 })).toBe(false);
    await writer.close();
  });
});

describe("a reader", () => {
  let directory = "";
  beforeEach(async () => {
    root = await mkdtemp(join("/dev/shm", "memory-image-"));
    directory = await round("0");
    const writer = await MemoryImageWriter.create(directory);
    await writeRound(writer, TASK, [1, 2, "absent", 4], []);
    await writer.close();
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const load = async (of = directory) => (await MemoryImageReader.open(of)).load(TASK);

  test("refuses a pages image of another length", async () => {
    const pages = join(directory, "pages-65537.img");
    await writeFile(pages, "x", { flag: "a" });
    await expect(load()).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    await truncate(pages, 3 * PAGE_BYTES - 1);
    await expect(load()).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    await rm(pages);
    await expect(load()).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  });

  test("notices a pages image that becomes shorter", async () => {
    const loaded = await load();
    await truncate(join(directory, "pages-65537.img"), 100);
    await expect(loaded.read(BASE, page(0))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    await loaded.close();
  });

  test("has no page once it is closed, not even one of zeros", async () => {
    const closed = await load();
    const refused = expect(closed.read(BASE, Buffer.alloc(4 * PAGE_BYTES))).rejects.toThrow();
    await closed.close();
    await refused;
    await expect(closed.read(BASE + 2 * PAGE_BYTES, page(0))).rejects.toThrow("was closed");
    expect(() => closed.segments.hasContent(rangeAt(0, PRESENT))).toThrow("was closed");
    expect(() => [...closed.ranges]).toThrow("was closed");
  });

  test("refuses parents that lead in a circle, or anywhere but beside", async () => {
    await symlink("../1", join(directory, "parent"));
    const next = await round("1", "0");
    await expect(MemoryImageReader.open(next)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    for (const target of ["/etc", "../../etc", "..", "../a/b", "."]) {
      await rm(join(next, "parent"));
      await symlink(target, join(next, "parent"));
      await expect(MemoryImageReader.open(next)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    }
    await expect(setParent(next, "../0")).rejects.toMatchObject({ reason: "BAD_REQUEST" });
  });

  test("does not look behind a round that lacks the image", async () => {
    await round("1", "0");
    const last = await round("2", "1");
    const writer = await MemoryImageWriter.create(last);
    expect(await writer.parentHas(TASK)).toBe(false);
    expect(await writer.open(TASK)).toBe(false);
    await writer.close();
    await expectMemory(last, TASK, ["absent"]);
  });

  test("takes whole pages only", async () => {
    const loaded = await load();
    await expect(loaded.read(BASE + 1, page(0))).rejects.toThrow(RangeError);
    await expect(loaded.read(BASE, Buffer.alloc(10))).rejects.toThrow(RangeError);
    await loaded.close();
  });

  test("refuses, or understands, a pagemap with changed bytes", async () => {
    const path = join(directory, "pagemap-1.img");
    const whole = await readFile(path);
    for (let at = 0; at < whole.length; at++) {
      for (const flip of [1, 0x80, 0xff]) {
        const image = Buffer.from(whole);
        image[at] = (image[at] as number) ^ flip;
        await writeFile(path, image);
        const loaded = await load().catch((error: unknown) => error);
        if (loaded instanceof Error) expect(loaded).toMatchObject({ reason: "CORRUPT_STREAM" });
        else await (loaded as Awaited<ReturnType<typeof load>>).close();
      }
    }
  });
});

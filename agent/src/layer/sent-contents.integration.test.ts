/** Files that a container has open, on real overlay mounts. Needs root. */
import { execFileSync, spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { beforeEach, describe, expect, test } from "vitest";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { LayerRoot } from "./beneath.ts";
import { applyLayer, diffLayer, EMPTY_MANIFEST, packLayer, scanLayer, SentContents } from "./layer.ts";
import { portrait, setAttribute, useOverlays } from "./test-support/overlays.ts";

const overlays = useOverlays();

describe("a file that was open for writing in the first pass", () => {
  const name = "data/base";
  const written: ReadonlySet<string> = new Set([name]);

  function noise(bytes: number): Buffer {
    return randomFillSync(Buffer.alloc(bytes));
  }

  /** The first pass, into an upper directory; `meanwhile` runs when all is known of the layer, and nothing is read yet. */
  async function firstPass(meanwhile: () => void = () => undefined) {
    const target = overlays.make("target", false);
    const contents = new SentContents(overlays.source.upper, written);
    const first = await scanLayer(overlays.source.upper);
    meanwhile();
    const all = packLayer(overlays.source.upper, diffLayer(EMPTY_MANIFEST, first), { live: true, contents });
    await applyLayer({ kind: "upper", directory: target.upper }, all);
    return { target, contents, first };
  }

  /** What the second pass takes, without being applied; as the switch does it. */
  async function secondPass(
    { contents, first }: Pick<Awaited<ReturnType<typeof firstPass>>, "contents" | "first">,
    writtenNow: ReadonlySet<string> = written,
  ) {
    const second = await scanLayer(overlays.source.upper);
    const difference = diffLayer(first, second, new Set([...writtenNow, ...contents.written]), contents.comparable());
    const patches = await contents.patches(difference.compared, second);
    const bytes = await packLayer(overlays.source.upper, difference, { live: false, patches }).toArray();
    return { patches, bytes: Buffer.concat(bytes) };
  }

  /** Both passes, the second into the mounted root; gives what the second one took. */
  async function twoPasses(
    change: (path: string) => void,
    meanwhile?: () => void,
  ): Promise<{ streamBytes: number; patched: number }> {
    const pass = await firstPass(meanwhile);
    change(join(overlays.source.merged, name));
    const { patches, bytes } = await secondPass(pass);
    overlays.mount("target");
    await applyLayer({ kind: "merged", directory: pass.target.merged }, Readable.from([bytes]));
    expect(portrait(pass.target.upper)).toBe(portrait(overlays.source.upper));
    return { streamBytes: bytes.length, patched: patches.length };
  }

  beforeEach(() => mkdirSync(join(overlays.source.merged, "data"), { recursive: true }));

  test("travels by the pages that differ, though its times say nothing", async () => {
    writeFileSync(join(overlays.source.merged, name), noise(8 * 1024 * 1024 + 100));
    const { streamBytes, patched } = await twoPasses((path) => {
      const { atime, mtime } = statSync(path);
      const file = openSync(path, "r+");
      writeSync(file, "here", 3 * PAGE_BYTES + 5);
      writeSync(file, "and there", 700 * PAGE_BYTES - 4);
      writeSync(file, "end", 8 * 1024 * 1024 + 97);
      closeSync(file);
      utimesSync(path, atime, mtime);
    });
    expect(patched).toBe(1);
    // Four pages, headers of tar, and its last record.
    expect(streamBytes).toBeLessThan(4 * PAGE_BYTES + 32 * 1024);
  });

  test("does not travel again if it is the same", async () => {
    writeFileSync(join(overlays.source.merged, name), noise(1024 * 1024));
    expect((await twoPasses(() => undefined)).streamBytes).toBeLessThan(32 * 1024);
  });

  test.each([
    ["grew", 5 * 1024 * 1024 + 7],
    ["shrank", 300_001],
    ["lost all", 0],
  ])("and %s is made as long", async (_, bytes) => {
    writeFileSync(join(overlays.source.merged, name), noise(1024 * 1024 + 3));
    const { patched } = await twoPasses((path) => {
      const file = openSync(path, "r+");
      ftruncateSync(file, bytes);
      if (bytes > 0) writeSync(file, "!", bytes - 1);
      closeSync(file);
    });
    expect(patched).toBe(1);
  });

  test("and has holes is compared by what is in it", async () => {
    const file = openSync(join(overlays.source.merged, name), "w");
    writeSync(file, noise(100_000), 0, 100_000, 10 * 1024 * 1024);
    writeSync(file, noise(5_000), 0, 5_000, 20 * 1024 * 1024 + 17);
    ftruncateSync(file, 30 * 1024 * 1024 + 1);
    closeSync(file);
    const { streamBytes, patched } = await twoPasses((path) => {
      const again = openSync(path, "r+");
      writeSync(again, "in a hole", 15 * 1024 * 1024);
      writeSync(again, "in data", 10 * 1024 * 1024 + 5);
      closeSync(again);
    });
    expect(patched).toBe(1);
    expect(streamBytes).toBeLessThan(2 * PAGE_BYTES + 32 * 1024);
  });

  test.each([
    ["another mode", (path: string) => execFileSync("chmod", ["0600", path])],
    ["another owner", (path: string) => execFileSync("chown", ["12:34", path])],
    ["another attribute", (path: string) => setAttribute(path, "user.note", "new")],
    ["a second name", (path: string) => linkSync(path, `${path}-2`)],
    [
      "another inode",
      (path: string) => {
        renameSync(path, `${path}-old`);
        writeFileSync(path, noise(200_000));
      },
    ],
    [
      "become a directory",
      (path: string) => {
        unlinkSync(path);
        mkdirSync(path);
      },
    ],
  ])("and has %s is sent whole", async (_, change) => {
    writeFileSync(join(overlays.source.merged, name), noise(300_000));
    expect((await twoPasses(change)).patched).toBe(0);
  });

  test.each([
    ["mode", "chmod", "0666"],
    ["owner", "chown", "12:34"],
  ])("and had another %s while it was sent is sent whole", async (_, program, other) => {
    const path = join(overlays.source.merged, name);
    writeFileSync(path, noise(300_000), { mode: 0o644 });
    const back = () => execFileSync(program, [program === "chmod" ? "0644" : "0:0", path]);
    expect((await twoPasses(back, () => execFileSync(program, [other, path]))).patched).toBe(0);
  });

  test("and had another attribute while it was sent is sent whole", async () => {
    const path = join(overlays.source.merged, name);
    writeFileSync(path, noise(300_000));
    setAttribute(path, "user.note", "old");
    const back = () => setAttribute(path, "user.note", "old");
    expect((await twoPasses(back, () => setAttribute(path, "user.note", "for a moment"))).patched).toBe(0);
    expect((await firstPass()).contents.comparable()).toEqual(written);
  });

  test("and dates from after 2262 keeps its date", async () => {
    writeFileSync(join(overlays.source.merged, name), noise(300_000));
    const date = new Date("2300-01-01T00:00:00Z");
    const { patched } = await twoPasses((path) => {
      const file = openSync(path, "r+");
      writeSync(file, "here", 5);
      closeSync(file);
      utimesSync(path, date, date);
    });
    expect(patched).toBe(1);
  });

  test("and is closed by the second one counts as written all the same", async () => {
    const path = join(overlays.source.merged, name);
    writeFileSync(path, noise(300_000));
    const program = join(overlays.base, "mapped-writer");
    execFileSync("gcc", ["-O2", "-o", program, join(import.meta.dirname, "testing/mapped-writer.c")]);
    const writer = spawn(program, [path], { stdio: ["pipe", "pipe", "inherit"] });
    const answers = createInterface({ input: writer.stdout })[Symbol.asyncIterator]();
    expect((await answers.next()).value).toBe("mapped");
    // The page is dirty: further writes leave no time behind.
    const { mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    const pass = await firstPass();
    writer.stdin.write("!");
    expect((await answers.next()).value).toBe("written");
    writer.stdin.end();
    await once(writer, "close");
    expect(statSync(path, { bigint: true })).toMatchObject({ mtimeNs, ctimeNs });
    const { patches } = await secondPass(pass, new Set());
    expect(patches).toMatchObject([{ path: name, ranges: [[0, 1]] }]);
  });

  test("is opened only if it is a regular file", async () => {
    const path = join(overlays.source.upper, name);
    writeFileSync(path, noise(300_000));
    const { contents } = await firstPass();
    const root = new LayerRoot(overlays.source.upper);
    try {
      for (const kind of [["c", "1", "3"], ["b", "7", "200"], ["p"]]) {
        rmSync(path);
        execFileSync("mknod", [path, ...kind]);
        expect(root.open(name, false)).toBeUndefined();
        expect(root.open(name, true)).toBeUndefined();
        expect(contents.comparable()).toEqual(new Set());
      }
    } finally {
      root.close();
    }
  });

  test("is never reached through a link that came in its place", async () => {
    const outside = join(overlays.base, "outside");
    writeFileSync(outside, noise(200_000));
    const before = readFileSync(outside);
    writeFileSync(join(overlays.source.merged, name), noise(200_000));
    const pass = await firstPass();
    writeFileSync(join(overlays.source.merged, name), noise(200_000));
    const { patches, bytes } = await secondPass(pass);
    expect(patches[0]?.ranges).toEqual([[0, 49]]);
    const { target } = pass;
    unlinkSync(join(target.upper, name));
    symlinkSync(outside, join(target.upper, name));
    const upper = { kind: "upper", directory: target.upper } as const;
    await expect(applyLayer(upper, Readable.from([bytes]))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    unlinkSync(join(target.upper, name));
    linkSync(outside, join(target.upper, name));
    await expect(applyLayer(upper, Readable.from([bytes]))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    rmSync(join(target.upper, "data"), { recursive: true });
    symlinkSync(overlays.base, join(target.upper, "data"));
    await expect(applyLayer(upper, Readable.from([bytes]))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    expect(readFileSync(outside)).toEqual(before);
  });

  test("is refused if the stream ends within its pages", async () => {
    writeFileSync(join(overlays.source.merged, name), noise(200_000));
    const pass = await firstPass();
    writeFileSync(join(overlays.source.merged, name), noise(200_000));
    const { bytes } = await secondPass(pass);
    const upper = { kind: "upper", directory: pass.target.upper } as const;
    await expect(applyLayer(upper, Readable.from([bytes.subarray(0, 100_000)]))).rejects.toMatchObject({
      reason: "CORRUPT_STREAM",
    });
  });
});

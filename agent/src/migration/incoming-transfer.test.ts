import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { IncomingFile } from "@drayage/shared/page-stream/transfer-types.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PAGE_BYTES, PRESENT } from "../memory-image/page-range.ts";
import { MemoryStreamEncoder } from "../memory-stream/encoder.ts";
import { IncomingTransfer } from "./incoming-transfer.ts";

let directory: string;
let transfer: IncomingTransfer;
let mounted: string[];

beforeEach(async () => {
  mounted = [];
  directory = await mkdtemp(join(tmpdir(), "incoming-"));
  const drain = async (content: Readable) => {
    for await (const _ of content);
  };
  transfer = new IncomingTransfer({
    imageDirectory: directory,
    roundDirectory: async (round) => {
      const path = join(directory, `round-${round}`);
      await mkdir(path);
      return path;
    },
    roundComplete: () => undefined,
    pagesDirectory: () => Promise.resolve(null),
    image: drain,
    layer: drain,
    layerRest: drain,
    tmpfs: (number, { source, options }, content) => {
      mounted.push(`${number} ${source} ${options.join(",")}`);
      return drain(content);
    },
    tmpfsRest: (_number, content) => drain(content),
    postCopy: async ({ content }) => drain(content),
  });
});
afterEach(() => rm(directory, { recursive: true }));

function file(kind: string, name: string, content: string | Buffer): IncomingFile {
  return {
    kind,
    name,
    metadata: {},
    sizeBytes: undefined,
    content: Readable.from([Buffer.from(content)]),
    wireBytes: 0,
    say: () => undefined,
  };
}

function bundle(files: { name: string; bytes: number; bundled: boolean }[], contents = ""): IncomingFile {
  const manifest = JSON.stringify({ files });
  const head = Buffer.alloc(4);
  head.writeUInt32LE(manifest.length);
  return file("criu-bundle", "bundle", Buffer.concat([head, Buffer.from(manifest + contents)]));
}

/** A memory stream of two pages of process 1. */
function memory(kind: "memory" | "memory-round", metadata: IncomingFile["metadata"] = {}): IncomingFile {
  const encoder = new MemoryStreamEncoder();
  const pieces = [
    ...encoder.open({ kind: "task", id: 1 }),
    ...encoder.range(0x1000, 2, PRESENT, Buffer.alloc(2 * PAGE_BYTES, "m")),
    ...encoder.end(),
  ];
  return { ...file(kind, kind, Buffer.concat(pieces)), metadata };
}

const TMPFS = { name: "tmpfs-dev-9.tar.gz.img", bytes: 5, bundled: false };
const CORE = { name: "core-1.img", bytes: 2, bundled: true };

function isResolved(promise: Promise<void>): Promise<boolean> {
  const afterAllThatIsDue = new Promise<boolean>((resolve) => setImmediate(resolve, false));
  return Promise.race([promise.then(() => true), afterAllThatIsDue]);
}
const isComplete = () => isResolved(transfer.complete);
const isRestorable = () => isResolved(transfer.restorable);

describe("IncomingTransfer", () => {
  const parts = {
    memory: () => memory("memory"),
    tmpfs: () => file("criu-image", TMPFS.name, "12345"),
    layer: () => file("layer-rest", "layer-rest", ""),
    bundle: () => bundle([CORE, TMPFS], "ab"),
  };
  type Part = keyof typeof parts;

  it.each<Part[]>([
    ["tmpfs", "memory", "layer", "bundle"],
    ["bundle", "layer", "memory", "tmpfs"],
    ["memory", "bundle", "tmpfs", "layer"],
  ])("is complete once all is here: %s, %s, %s, %s", async (...order) => {
    for (const part of order.slice(0, -1)) await transfer.receive(parts[part]());
    expect(await isComplete()).toBe(false);
    await transfer.receive(parts[order.at(-1) as Part]());
    expect(await isComplete()).toBe(true);
    expect(await readFile(join(directory, TMPFS.name), "utf8")).toBe("12345");
    expect(await readFile(join(directory, "core-1.img"), "utf8")).toBe("ab");
    expect(await readFile(join(directory, "pages-65537.img"), "utf8")).toBe("m".repeat(2 * PAGE_BYTES));
    expect(transfer.imageBytes).toBe(7 + 2 * PAGE_BYTES);
  });

  it("can be restored from when only memory is missing", async () => {
    await transfer.receive(parts.bundle());
    await transfer.receive(parts.layer());
    expect(await isRestorable()).toBe(false);
    await transfer.receive(parts.tmpfs());
    expect(await isRestorable()).toBe(true);
    expect(await isComplete()).toBe(false);
    await transfer.receive(parts.memory());
    expect(await isComplete()).toBe(true);
  });

  it.each([
    [8, true],
    [9, false],
  ])("waits for the memory too if there is System V shared memory: an image of %i bytes", async (bytes, restorable) => {
    const shared = { name: "ipcns-shm-9.img", bytes, bundled: true };
    await transfer.receive(bundle([shared], "123456789".slice(0, bytes)));
    await transfer.receive(parts.layer());
    expect(await isRestorable()).toBe(restorable);
    await transfer.receive(parts.memory());
    expect(await isRestorable()).toBe(true);
  });

  describe("tmpfs that was sent before the switch", () => {
    const first = (number: unknown, options: unknown = ["size=1m"], source = "shm") => ({
      ...file("tmpfs", "/cache", "files"),
      metadata: { number, source, options } as IncomingFile["metadata"],
    });
    const rest = (number: number) => ({ ...file("tmpfs-rest", "/cache", "more"), metadata: { number } });

    it("is waited for until the rest of each has come", async () => {
      await transfer.receive(first(0));
      await transfer.receive(first(1, ["size=2m", "huge=always"]));
      expect(mounted).toEqual(["0 shm size=1m", "1 shm size=2m,huge=always"]);
      for (const part of [parts.memory(), parts.bundle(), parts.tmpfs(), parts.layer()]) await transfer.receive(part);
      await transfer.receive(rest(1));
      expect(await isRestorable()).toBe(false);
      await transfer.receive(rest(0));
      expect(await isRestorable()).toBe(true);
      expect(await isComplete()).toBe(true);
    });

    it.each([
      ["out of turn", first(1)],
      ["without a number", first(undefined)],
      ["with an option that mount takes for something else", first(0, ["size=1m,mode=4777"])],
      ["with an option of no tmpfs", first(0, ["bind"])],
      ["with a source that mount takes for an option", first(0, [], "--bind")],
      ["as the rest of one that never came", rest(0)],
    ])("is refused %s", async (_what, incoming) => {
      await expect(transfer.receive(incoming)).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
      expect(mounted).toEqual([]);
    });
  });

  it("takes rounds of memory in their order, each in a directory of its own", async () => {
    await expect(transfer.receive(memory("memory-round", { round: 1 }))).rejects.toThrow(/round 1 of memory where 0/);
    await transfer.receive(memory("memory-round", { round: 0 }));
    await transfer.receive(memory("memory-round", { round: 1 }));
    await expect(transfer.receive(memory("memory-round", { round: 1 }))).rejects.toThrow(/round 1 of memory where 2/);
    expect(await readFile(join(directory, "round-1", "pages-65537.img"), "utf8")).toBe("m".repeat(2 * PAGE_BYTES));
  });

  it("refuses a file that is short, whether it comes before the manifest or after it", async () => {
    const long = { ...TMPFS, bytes: 6 };
    await transfer.receive(parts.tmpfs());
    await expect(transfer.receive(bundle([long]))).rejects.toThrow(/gz.img has 5 bytes here and 6/);
    await expect(transfer.receive(parts.tmpfs())).rejects.toThrow(/gz.img has 5 bytes here and 6/);
    await transfer.receive(parts.layer()).catch(() => undefined);
    expect(await isComplete()).toBe(false);
  });

  it.each(["../escape", "a/b", ".hidden", "", "x".repeat(200)])("refuses the file name %j", async (name) => {
    await expect(transfer.receive(file("criu-image", name, "x"))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  });

  it("refuses kinds that it does not know", async () => {
    await expect(transfer.receive(file("weights", "x", "x"))).rejects.toThrow(/unknown kind "weights"/);
  });
});

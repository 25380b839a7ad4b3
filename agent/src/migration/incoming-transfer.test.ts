import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { IncomingFile } from "@drayage/shared/page-stream/transfer-types.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IncomingTransfer } from "./incoming-transfer.ts";

let directory: string;
let transfer: IncomingTransfer;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "incoming-"));
  const drain = async (content: Readable) => {
    for await (const _ of content);
  };
  transfer = new IncomingTransfer({ imageDirectory: directory, image: drain, layer: drain, layerRest: drain });
});
afterEach(() => rm(directory, { recursive: true }));

function file(kind: string, name: string, content: string | Buffer): IncomingFile {
  return { kind, name, metadata: {}, sizeBytes: undefined, content: Readable.from([Buffer.from(content)]) };
}

function bundle(files: { name: string; bytes: number; bundled: boolean }[], contents = ""): IncomingFile {
  const manifest = JSON.stringify({ files });
  const head = Buffer.alloc(4);
  head.writeUInt32LE(manifest.length);
  return file("criu-bundle", "bundle", Buffer.concat([head, Buffer.from(manifest + contents)]));
}

const PAGES = { name: "pages-1.img", bytes: 5, bundled: false };
const CORE = { name: "core-1.img", bytes: 2, bundled: true };

function isResolved(promise: Promise<void>): Promise<boolean> {
  const afterAllThatIsDue = new Promise<boolean>((resolve) => setImmediate(resolve, false));
  return Promise.race([promise.then(() => true), afterAllThatIsDue]);
}
const isComplete = () => isResolved(transfer.complete);
const isRestorable = () => isResolved(transfer.restorable);

describe("IncomingTransfer", () => {
  const parts = {
    pages: () => file("criu-image", "pages-1.img", "12345"),
    layer: () => file("layer-rest", "layer-rest", ""),
    bundle: () => bundle([CORE, PAGES], "ab"),
  };

  it.each([
    ["pages", "layer", "bundle"],
    ["bundle", "layer", "pages"],
    ["bundle", "pages", "layer"],
  ] as const)("is complete once all is here: %s, %s, %s", async (first, second, third) => {
    await transfer.receive(parts[first]());
    await transfer.receive(parts[second]());
    expect(await isComplete()).toBe(false);
    await transfer.receive(parts[third]());
    expect(await isComplete()).toBe(true);
    expect(await readFile(join(directory, "pages-1.img"), "utf8")).toBe("12345");
    expect(await readFile(join(directory, "core-1.img"), "utf8")).toBe("ab");
    expect(transfer.imageBytes).toBe(7);
  });

  it("can be restored from when only pages are missing", async () => {
    const map = { name: "pagemap-1.img", bytes: 3, bundled: false };
    await transfer.receive(bundle([CORE, PAGES, map], "ab"));
    await transfer.receive(parts.layer());
    expect(await isRestorable()).toBe(false);
    await transfer.receive(file("criu-image", "pagemap-1.img", "123"));
    expect(await isRestorable()).toBe(true);
    expect(await isComplete()).toBe(false);
    await transfer.receive(parts.pages());
    expect(await isComplete()).toBe(true);
  });

  it.each([
    [8, true],
    [9, false],
  ])("waits for the pages too if there is System V shared memory: an image of %i bytes", async (bytes, restorable) => {
    const memory = { name: "ipcns-shm-9.img", bytes, bundled: true };
    await transfer.receive(bundle([memory, PAGES], "123456789".slice(0, bytes)));
    await transfer.receive(parts.layer());
    expect(await isRestorable()).toBe(restorable);
    await transfer.receive(parts.pages());
    expect(await isRestorable()).toBe(true);
  });

  it("refuses a file that is short, whether it comes before the manifest or after it", async () => {
    const long = { ...PAGES, bytes: 6 };
    await transfer.receive(parts.pages());
    await expect(transfer.receive(bundle([long]))).rejects.toThrow(/pages-1.img has 5 bytes here and 6/);
    await expect(transfer.receive(parts.pages())).rejects.toThrow(/pages-1.img has 5 bytes here and 6/);
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

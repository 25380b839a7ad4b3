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

function file(kind: string, name: string, content: string): IncomingFile {
  return { kind, name, metadata: {}, sizeBytes: undefined, content: Readable.from([Buffer.from(content)]) };
}

const manifest = (files: { name: string; bytes: number }[]) => file("manifest", "manifest", JSON.stringify({ files }));

describe("IncomingTransfer", () => {
  it("is complete once the manifest has come and everything in it is here", async () => {
    await transfer.receive(file("criu-image", "pages-1.img", "12345"));
    await transfer.receive(file("layer-rest", "layer-rest", ""));
    await transfer.receive(manifest([{ name: "pages-1.img", bytes: 5 }]));
    await transfer.complete;
    expect(await readFile(join(directory, "pages-1.img"), "utf8")).toBe("12345");
    expect(transfer.imageBytes).toBe(5);
  });

  it.each([
    ["a file that is missing", [{ name: "core-1.img", bytes: 5 }], /core-1.img has no bytes here and 5/],
    ["a file that is short", [{ name: "pages-1.img", bytes: 6 }], /pages-1.img has 5 bytes here and 6/],
  ])("refuses a manifest with %s", async (_name, files, message) => {
    await transfer.receive(file("criu-image", "pages-1.img", "12345"));
    await transfer.receive(file("layer-rest", "layer-rest", ""));
    await expect(transfer.receive(manifest(files))).rejects.toThrow(message);
  });

  it("refuses a manifest before the rest of the layer", async () => {
    await expect(transfer.receive(manifest([]))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  });

  it.each(["../escape", "a/b", ".hidden", "", "x".repeat(200)])("refuses the file name %j", async (name) => {
    await expect(transfer.receive(file("criu-image", name, "x"))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  });

  it("refuses kinds that it does not know", async () => {
    await expect(transfer.receive(file("weights", "x", "x"))).rejects.toThrow(/unknown kind "weights"/);
  });
});

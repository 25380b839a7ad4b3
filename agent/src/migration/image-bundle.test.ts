import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { packImages, unpackImages } from "./image-bundle.ts";
import type { ImageManifest } from "./transfer-kinds.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "bundle-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function packed(manifest: ImageManifest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (const chunk of packImages(directory, manifest)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The bytes cut at the given places. */
async function* cut(bytes: Buffer, places: readonly number[]): AsyncGenerator<Buffer> {
  let from = 0;
  for (const place of [...places].map((p) => p % (bytes.length + 1)).sort((a, b) => a - b)) {
    yield bytes.subarray(from, place);
    from = place;
  }
  yield bytes.subarray(from);
}

async function unpacked(stream: AsyncIterable<Buffer>) {
  const files = new Map<string, string>();
  const manifest = await unpackImages(stream, (name, content) => {
    files.set(name, content.toString());
  });
  return { manifest, files };
}

const MANIFEST: ImageManifest = {
  files: [
    { name: "core-1.img", bytes: 5, bundled: true },
    { name: "pages-1.img", bytes: 1 << 30, bundled: false },
    { name: "empty.img", bytes: 0, bundled: true },
  ],
};

async function example(): Promise<Buffer> {
  await writeFile(join(directory, "core-1.img"), "12345");
  await writeFile(join(directory, "empty.img"), "");
  return packed(MANIFEST);
}

describe("image bundle", () => {
  it("comes out as it went in, wherever the stream is cut", async () => {
    const bytes = await example();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 6 }), async (places) => {
        const { manifest, files } = await unpacked(cut(bytes, places));
        expect(manifest).toEqual(MANIFEST);
        expect([...files]).toEqual([
          ["core-1.img", "12345"],
          ["empty.img", ""],
        ]);
      }),
    );
  });

  it("refuses every bundle that is cut short, and one that goes on", async () => {
    const bytes = await example();
    for (let length = 0; length < bytes.length; length++) {
      await expect(unpacked(cut(bytes.subarray(0, length), []))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    }
    await expect(unpacked(cut(Buffer.concat([bytes, Buffer.from("x")]), []))).rejects.toThrow(
      /longer than its manifest/,
    );
  });

  it.each(["../escape", "a/b", ".hidden", "", "x".repeat(200)])("refuses the file name %j", async (name) => {
    const bytes = Buffer.from(JSON.stringify({ files: [{ name, bytes: 0, bundled: true }] }));
    const head = Buffer.alloc(4);
    head.writeUInt32LE(bytes.length);
    await expect(unpacked(cut(Buffer.concat([head, bytes]), []))).rejects.toThrow(/no name of a CRIU image/);
  });

  it("refuses a file that has changed since the manifest", async () => {
    await example();
    await writeFile(join(directory, "core-1.img"), "123456");
    await expect(packed(MANIFEST)).rejects.toThrow(/has changed/);
  });
});

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseLayerPath } from "./layer-path.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { encodeHead, splitHead } from "./stream-head.ts";
import type { FilePatch } from "./types.ts";
import { filterTar, type TarMember } from "./tar-filter.ts";

let archive: Buffer = Buffer.alloc(0);
let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "drayage-tar-"));
  writeFileSync(join(directory, "a"), "x".repeat(1000));
  writeFileSync(join(directory, "ü".repeat(120)), "long name");
  symlinkSync("t".repeat(200), join(directory, "s"));
  archive = execFileSync("tar", ["-c", "--format=posix", "-C", directory, "."]);
});
afterAll(() => rmSync(directory, { recursive: true }));

async function* inPieces(bytes: Buffer, pieceBytes: readonly number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (const size of pieceBytes) {
    yield bytes.subarray(at, at + size);
    at += size;
  }
  yield bytes.subarray(at);
}

async function run(source: AsyncIterable<Buffer>, keep: (member: TarMember) => boolean = () => true) {
  const members: TarMember[] = [];
  const out: Buffer[] = [];
  for await (const chunk of filterTar(source, (member) => {
    members.push(member);
    return keep(member);
  })) {
    out.push(chunk);
  }
  return { members, bytes: Buffer.concat(out) };
}

describe("a tar that passes through", () => {
  test("is the same however it is cut", async () => {
    const whole = await run(inPieces(archive, []));
    expect(whole.members.map(({ type, name }) => [type, Buffer.from(name, "latin1").toString()]).sort()).toEqual([
      ["directory", "./"],
      ["file", "./a"],
      ["file", `./${"ü".repeat(120)}`],
      ["symlink", "./s"],
    ]);
    expect(whole.members.find(({ type }) => type === "symlink")?.linkName).toBe("t".repeat(200));
    expect(archive.subarray(0, whole.bytes.length - 1024)).toEqual(whole.bytes.subarray(0, -1024));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 20 }), async (pieces) => {
        expect((await run(inPieces(archive, pieces))).bytes).toEqual(whole.bytes);
      }),
      { numRuns: 50 },
    );
  });

  test("loses the members that are not wanted, and only them", async () => {
    const { bytes } = await run(inPieces(archive, []), ({ name }) => name !== "./a");
    const listed = execFileSync("tar", ["-t"], { input: bytes }).toString().trim().split("\n");
    expect(listed).toHaveLength(3);
    expect(listed).not.toContain("./a");
  });

  test("is refused when cut short or damaged", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: archive.length - 10_240 }), async (bytes) => {
        await expect(run(inPieces(archive.subarray(0, bytes), []))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
      }),
      { numRuns: 50 },
    );
    const damaged = Buffer.from(archive);
    damaged[3] = 0x41;
    await expect(run(inPieces(damaged, []))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
  });
});

describe("names from a stream", () => {
  test.each([
    ["./", ""],
    [".", ""],
    ["./a/b", "a/b"],
    ["./a/", "a"],
    ["a..b/..c", "a..b/..c"],
  ])("%j is %j", (name, path) => {
    expect(parseLayerPath(name)).toBe(path);
  });

  test.each(["/etc", "..", "./../x", "a/../../x", "a//b", "./a/./b", "a/..", ".//etc", "a\0b"])(
    "%j is refused",
    (name) => {
      expect(() => parseLayerPath(name)).toThrow(/outside/);
    },
  );
});

test("the head comes back with what follows it, however it is cut", async () => {
  const name = fc.string({
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
    minLength: 1,
  });
  const path = name.map((text) => text.replaceAll("/", "_")).filter((text) => text !== "." && text !== "..");
  const gaps = fc.array(fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 9 })), { maxLength: 5 });
  const patch = fc
    .record({ path, modifiedNs: fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }), gaps, tail: fc.nat(9999) })
    .map(({ path: at, modifiedNs, gaps: steps, tail }): FilePatch => {
      const ranges: [number, number][] = [];
      let page = 0;
      for (const [gap, pages] of steps) {
        ranges.push([page + gap, pages]);
        page += gap + pages;
      }
      return { path: at, sizeBytes: page * PAGE_BYTES + tail, modifiedNs, ranges };
    });
  await fc.assert(
    fc.asyncProperty(
      fc.array(path),
      fc.array(path),
      fc.array(patch),
      fc.uint8Array({ maxLength: 100 }),
      fc.array(fc.nat(40), { maxLength: 10 }),
      async (deleted, stripped, patched, tail, pieces) => {
        const stream = Buffer.concat([encodeHead({ deleted, stripped, patched }), tail]);
        const { head, rest } = await splitHead(inPieces(stream, pieces));
        const following: Buffer[] = [];
        for await (const chunk of rest.rest()) following.push(chunk);
        expect(head).toEqual({ deleted, stripped, patched });
        expect(Buffer.concat(following)).toEqual(Buffer.from(tail));
      },
    ),
  );
});

test.each([
  ["beyond the end of its file", [[2, 1]]],
  [
    "twice",
    [
      [0, 2],
      [1, 1],
    ],
  ],
  [
    "backwards",
    [
      [1, 1],
      [0, 1],
    ],
  ],
])("a head with pages %s is refused", async (_, ranges) => {
  const patched = [{ path: "a", sizeBytes: 2 * PAGE_BYTES, modifiedNs: 0n, ranges: ranges as [number, number][] }];
  await expect(splitHead(inPieces(encodeHead({ deleted: [], stripped: [], patched }), []))).rejects.toMatchObject({
    reason: "CORRUPT_STREAM",
  });
});

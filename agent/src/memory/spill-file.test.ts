import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SpillFile } from "./spill-file.ts";

const DESCRIPTORS = "/proc/self/fd";

let base = "";
let directory = "";
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "drayage-spill-"));
  directory = join(base, "made-when-needed");
});
afterEach(async () => {
  await rm(base, { recursive: true, force: true });
});

/** The paths of what this process has open there. */
function openThere(): string[] {
  return readdirSync(DESCRIPTORS).flatMap((name) => {
    const path = join(DESCRIPTORS, name);
    try {
      return readlinkSync(path).startsWith(directory) ? [path] : [];
    } catch {
      // That by which the directory was read.
      return [];
    }
  });
}

function fileWithoutFailure(): SpillFile {
  return new SpillFile(directory, (error) => {
    throw error;
  });
}

test("what is written is read again, from a file that root alone may open, by no name, until it is closed", () => {
  const file = fileWithoutFailure();
  expect(readdirSync(base)).toEqual([]);
  const [first, second] = [randomBytes(5000), randomBytes(100)];
  const positions = [first, second].map((bytes) => file.allocate(bytes.length)) as [number, number];
  expect(file.write(second, positions[1])).toBe(true);
  expect(file.write(first, positions[0])).toBe(true);
  for (const [index, bytes] of [first, second].entries()) {
    const read = Buffer.alloc(bytes.length);
    expect(file.read(read, positions[index] as number, crc32(bytes))).toBe(true);
    expect(read).toEqual(bytes);
  }
  expect(readdirSync(directory)).toEqual([]);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  const [path = ""] = openThere();
  expect(readlinkSync(path)).toContain("(deleted)");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  file.close();
  file.close();
  expect(openThere()).toEqual([]);
  expect(() => file.write(first, positions[0])).toThrow("given up");
  expect(() => file.read(first, positions[0], 0)).toThrow("given up");
});

test("what comes back otherwise than it was written is not given, and the disk not trusted again", () => {
  const failures: string[] = [];
  const file = new SpillFile(directory, ({ message }) => failures.push(message));
  const bytes = randomBytes(5000);
  const position = file.allocate(bytes.length);
  file.write(bytes, position);
  const [path = ""] = openThere();
  writeFileSync(path, readFileSync(path).fill(0, 3000, 4000));
  expect(file.read(Buffer.alloc(bytes.length), position, crc32(bytes))).toBe(false);
  writeFileSync(path, bytes.subarray(0, 4096));
  expect(file.read(Buffer.alloc(bytes.length), position, crc32(bytes))).toBe(false);
  expect(file.write(bytes, position)).toBe(false);
  expect(failures).toEqual(["the disk gives back something else than was written"]);
  file.close();
});

test("a directory that cannot be made is told of once", () => {
  const failures: string[] = [];
  writeFileSync(join(base, "file"), "");
  const file = new SpillFile(join(base, "file/directory"), ({ message }) => failures.push(message));
  const bytes = randomBytes(100);
  for (const _ of [1, 2]) expect(file.write(bytes, file.allocate(bytes.length))).toBe(false);
  expect(failures).toEqual([expect.stringContaining("ENOTDIR")]);
  file.close();
});

import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryImageReader } from "../memory-image/memory-image-reader.ts";
import { MemoryImageWriter } from "../memory-image/memory-image-writer.ts";
import { type ImageId, PAGE_BYTES, PARENT, PRESENT } from "../memory-image/page-range.ts";
import { makeRoundDirectory, narrowRounds, removeRoundDirectories } from "./round-directories.ts";

const TASK: ImageId = { kind: "task", id: 1 };
const SHARED: ImageId = { kind: "shared", id: 7 };

let root = "";
let images = "";
let onDisk = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "round-directories-"));
  images = join(root, "run", "images", "m");
  onDisk = join(root, "disk", "m-pages");
  await mkdir(images, { recursive: true });
  await mkdir(onDisk, { recursive: true });
});
afterEach(() => rm(root, { recursive: true }));

/** Two pages of each: the first as the round before has it, the other with this letter. */
async function write(directory: string, ids: readonly ImageId[], letter: string, elsewhere: string | null = null) {
  const pagesDirectory = () => Promise.resolve(elsewhere);
  const writer = await MemoryImageWriter.create(directory, { pagesDirectory });
  for (const id of ids) {
    const hasParent = await writer.open(id);
    writer.entry({ vaddr: 0x1000, pages: 1, flags: hasParent ? PARENT : PRESENT });
    if (!hasParent) writer.data(Buffer.alloc(PAGE_BYTES, letter));
    writer.entry({ vaddr: 0x2000, pages: 1, flags: PRESENT });
    writer.data(Buffer.alloc(PAGE_BYTES, letter));
  }
  await writer.close();
}

/** Its letters, through the rounds. */
async function letters(id: ImageId): Promise<string> {
  const image = await (await MemoryImageReader.open(images)).load(id);
  const content = Buffer.alloc(2 * PAGE_BYTES);
  await image.read(0x1000, content);
  await image.close();
  return content.toString("latin1", 0, 1) + content.toString("latin1", PAGE_BYTES, PAGE_BYTES + 1);
}

test("of the rounds what belongs to some images is left, wherever their pages are; the rounds stay", async () => {
  await write(await makeRoundDirectory(images, 0), [TASK, SHARED], "a");
  await write(await makeRoundDirectory(images, 1), [TASK, SHARED], "b", onDisk);
  await write(images, [SHARED], "c");
  const before = await readdir(`${images}-round-1`);
  await narrowRounds(images, [SHARED]);
  expect(await letters(SHARED)).toBe("ac");
  const { directories } = await MemoryImageReader.open(images);
  expect(directories).toHaveLength(3);
  for (const narrow of directories.slice(1)) {
    expect(await (await MemoryImageReader.open(narrow)).images()).toEqual([SHARED]);
  }
  expect(await readdir(`${images}-round-1`)).toEqual(before);
  await removeRoundDirectories(images);
  expect(await readdir(join(root, "run", "images"))).toEqual(["m"]);
});

test("an image that a round lacks is looked for no further", async () => {
  await write(await makeRoundDirectory(images, 0), [SHARED], "a");
  await write(await makeRoundDirectory(images, 1), [TASK], "b");
  await write(await makeRoundDirectory(images, 2), [SHARED], "c");
  await write(images, [SHARED], "d");
  await narrowRounds(images, [SHARED]);
  expect(await letters(SHARED)).toBe("cd");
});

test("without any that rounds have part of, the images stand alone", async () => {
  await write(await makeRoundDirectory(images, 0), [TASK], "a");
  await narrowRounds(images, []);
  expect((await MemoryImageReader.open(images)).directories).toEqual([images]);
});

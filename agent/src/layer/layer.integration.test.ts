/** The writable layer on real overlay mounts. Needs root. */
import { execFileSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
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
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  applyLayer,
  diffLayer,
  EMPTY_MANIFEST,
  type LayerManifest,
  packLayer,
  scanLayer,
  SentContents,
} from "./layer.ts";

/** Everything about a tree as one text: names, types, metadata, contents, attributes, link sets. */
function portrait(directory: string): string {
  const script = `
import os, stat, sys, hashlib
root = os.fsencode(sys.argv[1]); names = {}; lines = []
def visit(path, name):
    s = os.lstat(path)
    kind = stat.S_IFMT(s.st_mode)
    data = b""
    if kind == stat.S_IFREG: data = hashlib.sha256(open(path, "rb").read()).hexdigest().encode()
    if kind == stat.S_IFLNK: data = os.readlink(path)
    whiteout = kind == stat.S_IFCHR and s.st_rdev == 0
    first = name if kind == stat.S_IFDIR or whiteout else names.setdefault(s.st_ino, name)
    attributes = [(n, os.getxattr(path, n, follow_symlinks=False)) for n in sorted(os.listxattr(path, follow_symlinks=False))
                  if n not in ("trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.uuid")]
    times = () if whiteout or name == b"" else (s.st_mtime_ns,)
    lines.append(repr((name, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev, s.st_size if kind != stat.S_IFDIR else 0, times, first, data, attributes)))
    if kind == stat.S_IFDIR:
        for child in sorted(os.listdir(path)): visit(path + b"/" + child, name + b"/" + child)
visit(root, b"")
print("\\n".join(lines))`;
  return execFileSync("python3", ["-c", script, directory], { maxBuffer: 1 << 28 }).toString();
}

function setAttribute(path: string, name: string, value: string | null): void {
  const script =
    value === null
      ? "import os,sys; os.removexattr(sys.argv[1], sys.argv[2])"
      : "import os,sys; os.setxattr(sys.argv[1], sys.argv[2], os.fsencode(sys.argv[3]))";
  execFileSync("python3", ["-c", script, path, name, ...(value === null ? [] : [value])]);
}

interface Overlay {
  readonly upper: string;
  readonly merged: string;
}

let base = "";
let source: Overlay = { upper: "", merged: "" };
const mounted: string[] = [];

function overlay(name: string, mount: boolean): Overlay {
  const [upper, work, merged] = ["upper", "work", "merged"].map((part) => join(base, `${name}-${part}`));
  for (const directory of [upper, work, merged]) mkdirSync(directory ?? "", { recursive: true });
  const made = { upper: upper ?? "", merged: merged ?? "" };
  if (mount) mountOverlay(name);
  return made;
}

function mountOverlay(name: string): void {
  const merged = join(base, `${name}-merged`);
  const options = `index=off,lowerdir=${join(base, "lower")},upperdir=${join(base, `${name}-upper`)},workdir=${join(base, `${name}-work`)}`;
  execFileSync("mount", ["-t", "overlay", "overlay", "-o", options, merged]);
  mounted.push(merged);
}

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "drayage-layer-"));
  const lower = join(base, "lower");
  mkdirSync(join(lower, "etc/conf.d"), { recursive: true });
  mkdirSync(join(lower, "usr/lib/deep/er"), { recursive: true });
  mkdirSync(join(lower, "opt/app"), { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(join(lower, "usr/lib", `lib${i}`), `lower ${i}`);
  for (const name of [
    "etc/passwd",
    "etc/conf.d/a",
    "etc/conf.d/b",
    "usr/lib/deep/er/x",
    "opt/app/bin",
    "opt/app/data",
  ]) {
    writeFileSync(join(lower, name), `lower ${name}`);
  }
  source = overlay("source", true);
});

afterEach(() => {
  for (const merged of mounted.splice(0)) execFileSync("umount", [merged]);
  rmSync(base, { recursive: true, force: true });
});

async function pass(
  before: LayerManifest,
  target: { kind: "upper" | "merged"; directory: string },
  written: ReadonlySet<string> = new Set(),
): Promise<{ manifest: LayerManifest; changed: number }> {
  const manifest = await scanLayer(source.upper);
  const difference = diffLayer(before, manifest, written);
  await applyLayer(target, packLayer(source.upper, difference, { live: false }));
  return { manifest, changed: difference.changed.length };
}

/** All that a layer can hold. */
function fill(root: string): void {
  const at = (name: string): string => join(root, name);
  mkdirSync(at("data/many"), { recursive: true });
  for (let i = 0; i < 5000; i++) writeFileSync(at(`data/many/${i}`), `file ${i} ${"x".repeat(i % 700)}`);
  unlinkSync(at("etc/passwd"));
  rmSync(at("usr/lib/deep"), { recursive: true });
  for (let i = 0; i < 10; i++) unlinkSync(at(`usr/lib/lib${i}`));
  rmSync(at("etc/conf.d"), { recursive: true });
  mkdirSync(at("etc/conf.d"));
  writeFileSync(at("etc/conf.d/new"), "in an opaque directory");
  writeFileSync(at("data/one"), "linked");
  linkSync(at("data/one"), at("data/two"));
  mkdirSync(at("data/far"));
  linkSync(at("data/one"), at("data/far/three"));
  writeFileSync(at("data/attributes"), "a");
  setAttribute(at("data/attributes"), "user.note", "value with \n newline");
  setAttribute(at("data/far"), "user.directory", "d");
  setAttribute(at("data/attributes"), "trusted.secret", "t");
  writeFileSync(at("data/ping"), "binary");
  execFileSync("setcap", ["cap_net_raw+ep", at("data/ping")]);
  const sparse = openSync(at("data/sparse"), "w");
  writeSync(sparse, "begin", 0);
  writeSync(sparse, "end", 48 * 1024 * 1024);
  ftruncateSync(sparse, 64 * 1024 * 1024);
  closeSync(sparse);
  execFileSync("mknod", [at("data/null"), "c", "1", "3"]);
  execFileSync("mknod", [at("data/loop"), "b", "7", "0"]);
  execFileSync("mkfifo", [at("data/fifo")]);
  execFileSync("chown", ["1234:5678", at("data/attributes")]);
  execFileSync("chmod", ["6751", at("data/two")]);
  execFileSync("chmod", ["1777", at("data/far")]);
  symlinkSync("/etc/../outside", at("data/link"));
  execFileSync("chown", ["-h", "77:88", at("data/link")]);
  execFileSync("touch", ["-d", "2001-02-03 04:05:06.123456789", at("data/many/7")]);
  execFileSync("touch", ["-d", "1960-01-01 00:00:00.5", at("data/many/8")]);
  for (const name of [
    "ünïcødé-日本",
    "new\nline",
    "back\\slash\\012",
    " lead",
    "*glob?[a]",
    "-dash",
    "quote'\"",
    "\t",
  ]) {
    writeFileSync(at(`data/${name}`), name);
  }
  writeFileSync(Buffer.concat([Buffer.from(at("data/")), Buffer.from([0xff, 0xfe, 0x41])]), "not UTF-8");
  mkdirSync(at(`data/${"long".repeat(50)}/${"deep".repeat(50)}`), { recursive: true });
  writeFileSync(at(`data/${"long".repeat(50)}/${"deep".repeat(50)}/${"n".repeat(200)}`), "long name");
  utimesSync(at("data/far"), 1000.25, 2000.5);
}

function change(root: string): void {
  const at = (name: string): string => join(root, name);
  for (let i = 0; i < 200; i++) appendFileSync(at(`data/many/${i}`), "!");
  for (let i = 200; i < 300; i++) unlinkSync(at(`data/many/${i}`));
  unlinkSync(at("data/two"));
  appendFileSync(at("data/one"), " and changed");
  linkSync(at("data/one"), at("data/four"));
  unlinkSync(at("data/link"));
  mkdirSync(at("data/link"));
  writeFileSync(at("data/link/inside"), "a symlink became a directory");
  rmSync(at("data/far"), { recursive: true });
  writeFileSync(at("data/far"), "a directory became a file");
  unlinkSync(at("opt/app/data"));
  writeFileSync(at("etc/passwd"), "a whiteout became a file");
  rmSync(at("opt/app"), { recursive: true });
  mkdirSync(at("opt/app"));
  writeFileSync(at("opt/app/only"), "opaque now");
  writeFileSync(at("new\nfile"), "at the top");
  execFileSync("chmod", ["0700", at("data/many/4000")]);
  execFileSync("setcap", ["-r", at("data/ping")]);
  renameSync(at("data/many/4001"), at("data/many/renamed"));
}

describe("a layer with everything in it", () => {
  test("goes into an upper directory in two passes, byte for byte", { timeout: 120_000 }, async () => {
    const target = overlay("target", false);
    fill(source.merged);
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(source.upper));
    change(source.merged);
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(source.upper));
    mountOverlay("target");
    expect(portrait(target.merged)).toBe(portrait(source.merged));
  });

  test("goes on into the mounted root file system", { timeout: 120_000 }, async () => {
    const target = overlay("target", false);
    fill(source.merged);
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    mountOverlay("target");
    change(source.merged);
    await pass(first.manifest, { kind: "merged", directory: target.merged });
    expect(portrait(target.merged)).toBe(portrait(source.merged));
  });

  test("goes whole into a mounted root file system", { timeout: 120_000 }, async () => {
    const target = overlay("target", true);
    fill(source.merged);
    change(source.merged);
    await pass(EMPTY_MANIFEST, { kind: "merged", directory: target.merged });
    expect(portrait(target.merged)).toBe(portrait(source.merged));
  });

  test("keeps sparse files sparse", { timeout: 60_000 }, async () => {
    const target = overlay("target", false);
    fill(source.merged);
    await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    expect(statSync(join(target.upper, "data/sparse")).blocks).toBeLessThan(1000);
  });
});

describe("a second pass", () => {
  test("sends only what changed", { timeout: 60_000 }, async () => {
    const target = overlay("target", false);
    mkdirSync(join(source.merged, "d"));
    for (let i = 0; i < 1000; i++) writeFileSync(join(source.merged, `d/${i}`), "x");
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // past the racy second
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    writeFileSync(join(source.merged, "d/5"), "changed");
    const second = await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(second.changed).toBe(3); // the root, d, d/5
    expect(portrait(target.upper)).toBe(portrait(source.upper));
  });

  test("sends a file that was open for writing though its times say nothing", async () => {
    const target = overlay("target", false);
    writeFileSync(join(source.merged, "mapped"), "before");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    writeFileSync(join(target.upper, "mapped"), "stale!");
    const second = await pass(first.manifest, { kind: "upper", directory: target.upper }, new Set(["mapped"]));
    expect(second.changed).toBe(2);
    expect(readFileSync(join(target.upper, "mapped"), "utf8")).toBe("before");
  });

  test("takes a lost attribute off a directory", async () => {
    const target = overlay("target", false);
    mkdirSync(join(source.merged, "d/sub"), { recursive: true });
    writeFileSync(join(source.merged, "d/file"), "stays");
    setAttribute(join(source.merged, "d"), "user.gone", "1");
    setAttribute(join(source.merged, "d"), "user.stays", "2");
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    setAttribute(join(source.merged, "d"), "user.gone", null);
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(source.upper));
  });

  test("does not write through another name of a linked file", async () => {
    const target = overlay("target", false);
    writeFileSync(join(source.merged, "a"), "old");
    linkSync(join(source.merged, "a"), join(source.merged, "b"));
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    // b becomes a file of its own.
    unlinkSync(join(source.merged, "b"));
    writeFileSync(join(source.merged, "b"), "new");
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(source.upper));
  });
});

describe("a file that was open for writing in the first pass", () => {
  const PAGE_BYTES = 4096;
  const name = "data/base";
  const written: ReadonlySet<string> = new Set([name]);

  function noise(bytes: number): Buffer {
    return randomFillSync(Buffer.alloc(bytes));
  }

  /** Both passes into an upper directory, the second into the mounted root as well; gives what the second one took. */
  async function twoPasses(change: (path: string) => void): Promise<{ streamBytes: number; patched: number }> {
    const target = overlay("target", false);
    const contents = new SentContents(source.upper, written);
    const first = await scanLayer(source.upper);
    const all = packLayer(source.upper, diffLayer(EMPTY_MANIFEST, first), { live: true, contents });
    await applyLayer({ kind: "upper", directory: target.upper }, all);
    change(join(source.merged, name));
    const second = await scanLayer(source.upper);
    const difference = diffLayer(first, second, written, contents.comparable());
    const patches = await contents.patches(difference.compared, second);
    const bytes = await packLayer(source.upper, difference, { live: false, patches }).toArray();
    mountOverlay("target");
    await applyLayer({ kind: "merged", directory: target.merged }, Readable.from(bytes));
    expect(portrait(target.upper)).toBe(portrait(source.upper));
    const streamBytes = bytes.reduce((sum: number, chunk: Buffer) => sum + chunk.length, 0);
    return { streamBytes, patched: patches.length };
  }

  beforeEach(() => mkdirSync(join(source.merged, "data"), { recursive: true }));

  test("travels by the pages that differ, though its times say nothing", async () => {
    writeFileSync(join(source.merged, name), noise(8 * 1024 * 1024 + 100));
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
    writeFileSync(join(source.merged, name), noise(1024 * 1024));
    expect((await twoPasses(() => undefined)).streamBytes).toBeLessThan(32 * 1024);
  });

  test.each([
    ["grew", 5 * 1024 * 1024 + 7],
    ["shrank", 300_001],
    ["lost all", 0],
  ])("and %s is made as long", async (_, bytes) => {
    writeFileSync(join(source.merged, name), noise(1024 * 1024 + 3));
    const { patched } = await twoPasses((path) => {
      const file = openSync(path, "r+");
      ftruncateSync(file, bytes);
      if (bytes > 0) writeSync(file, "!", bytes - 1);
      closeSync(file);
    });
    expect(patched).toBe(1);
  });

  test("and has holes is compared by what is in it", async () => {
    const file = openSync(join(source.merged, name), "w");
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
    writeFileSync(join(source.merged, name), noise(300_000));
    expect((await twoPasses(change)).patched).toBe(0);
  });

  test("is never reached through a link that came in its place", async () => {
    const outside = join(base, "outside");
    writeFileSync(outside, noise(200_000));
    const before = readFileSync(outside);
    writeFileSync(join(source.merged, name), noise(200_000));
    const contents = new SentContents(source.upper, written);
    const first = await scanLayer(source.upper);
    await packLayer(source.upper, diffLayer(EMPTY_MANIFEST, first), { live: true, contents }).toArray();
    writeFileSync(join(source.merged, name), noise(200_000));
    const second = await scanLayer(source.upper);
    const difference = diffLayer(first, second, written, contents.comparable());
    const patches = await contents.patches(difference.compared, second);
    const bytes = await packLayer(source.upper, difference, { live: false, patches }).toArray();
    expect(patches[0]?.ranges).toEqual([[0, 49]]);
    const target = overlay("target", false);
    mkdirSync(join(target.upper, "data"));
    symlinkSync(outside, join(target.upper, name));
    const upper = { kind: "upper", directory: target.upper } as const;
    await expect(applyLayer(upper, Readable.from(bytes))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    unlinkSync(join(target.upper, name));
    linkSync(outside, join(target.upper, name));
    await expect(applyLayer(upper, Readable.from(bytes))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    rmSync(join(target.upper, "data"), { recursive: true });
    symlinkSync(base, join(target.upper, "data"));
    await expect(applyLayer(upper, Readable.from(bytes))).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    expect(readFileSync(outside)).toEqual(before);
  });

  test("is refused if the stream ends within its pages", async () => {
    writeFileSync(join(source.merged, name), noise(200_000));
    const contents = new SentContents(source.upper, written);
    const first = await scanLayer(source.upper);
    const all = packLayer(source.upper, diffLayer(EMPTY_MANIFEST, first), { live: true, contents });
    const target = overlay("target", false);
    const upper = { kind: "upper", directory: target.upper } as const;
    await applyLayer(upper, all);
    writeFileSync(join(source.merged, name), noise(200_000));
    const second = await scanLayer(source.upper);
    const difference = diffLayer(first, second, written, contents.comparable());
    const patches = await contents.patches(difference.compared, second);
    const bytes = Buffer.concat(await packLayer(source.upper, difference, { live: false, patches }).toArray());
    await expect(applyLayer(upper, Readable.from([bytes.subarray(0, 100_000)]))).rejects.toMatchObject({
      reason: "CORRUPT_STREAM",
    });
  });
});

describe("a stream that would lead out of the layer", () => {
  async function packOf(build: (root: string) => void): Promise<Readable> {
    const evil = join(base, "evil");
    rmSync(evil, { recursive: true, force: true });
    mkdirSync(evil);
    build(evil);
    return packLayer(evil, diffLayer(EMPTY_MANIFEST, await scanLayer(evil)), { live: false });
  }

  test("through a symlink that an earlier pass made is refused", async () => {
    const target = overlay("target", false);
    const outside = join(base, "outside");
    mkdirSync(outside);
    const upper = { kind: "upper", directory: target.upper } as const;
    await applyLayer(upper, await packOf((root) => symlinkSync(outside, join(root, "d"))));
    const stream = await packOf((root) => {
      mkdirSync(join(root, "d"));
      writeFileSync(join(root, "d/file"), "owned");
    });
    // As a forger would: the member without its directory.
    const bytes = Buffer.concat(await stream.toArray());
    const withoutDirectory = dropMember(bytes, "./d/");
    await expect(applyLayer(upper, Readable.from([withoutDirectory]))).rejects.toMatchObject({
      reason: "CORRUPT_STREAM",
    });
    expect(lstatSync(join(outside, "file"), { throwIfNoEntry: false })).toBeUndefined();
    // The honest stream replaces the symlink.
    const honest = await packOf((root) => {
      mkdirSync(join(root, "d"));
      writeFileSync(join(root, "d/file"), "inside");
    });
    await applyLayer(upper, honest);
    expect(readFileSync(join(target.upper, "d/file"), "utf8")).toBe("inside");
    expect(lstatSync(join(outside, "file"), { throwIfNoEntry: false })).toBeUndefined();
  });

  test("that ends early is refused", async () => {
    const target = overlay("target", false);
    const stream = await packOf((root) => writeFileSync(join(root, "f"), "x".repeat(9000)));
    const bytes = Buffer.concat(await stream.toArray());
    for (const cut of [4, 20, 700, 6000, bytes.length - 10_240]) {
      await expect(
        applyLayer({ kind: "upper", directory: target.upper }, Readable.from([bytes.subarray(0, cut)])),
      ).rejects.toMatchObject({ reason: "CORRUPT_STREAM" });
    }
  });
});

/** The stream without the member of that name (a directory: header only, maybe with an extended header). */
function dropMember(stream: Buffer, name: string): Buffer {
  const start = 12 + stream.readUInt32BE(8);
  for (let at = start; at < stream.length; at += 512) {
    if (stream.toString("latin1", at, at + name.length + 1) !== `${name}\0`) continue;
    const extended = stream.toString("latin1", at - 1024 + 156, at - 1024 + 157) === "x";
    return Buffer.concat([stream.subarray(0, extended ? at - 1024 : at), stream.subarray(at + 512)]);
  }
  throw new Error(`no member ${name}`);
}

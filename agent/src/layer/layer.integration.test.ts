/** The writable layer on real overlay mounts. Needs root. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
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
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { applyLayer, diffLayer, EMPTY_MANIFEST, type LayerManifest, packLayer, scanLayer } from "./layer.ts";
import { portrait, setAttribute, useOverlays } from "./test-support/overlays.ts";

const overlays = useOverlays();

async function pass(
  before: LayerManifest,
  target: { kind: "upper" | "merged"; directory: string },
  written: ReadonlySet<string> = new Set(),
): Promise<{ manifest: LayerManifest; changed: number }> {
  const manifest = await scanLayer(overlays.source.upper);
  const difference = diffLayer(before, manifest, written);
  await applyLayer(target, packLayer(overlays.source.upper, difference, { live: false }));
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
    const target = overlays.make("target", false);
    fill(overlays.source.merged);
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(overlays.source.upper));
    change(overlays.source.merged);
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(overlays.source.upper));
    overlays.mount("target");
    expect(portrait(target.merged)).toBe(portrait(overlays.source.merged));
  });

  test("goes on into the mounted root file system", { timeout: 120_000 }, async () => {
    const target = overlays.make("target", false);
    fill(overlays.source.merged);
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    overlays.mount("target");
    change(overlays.source.merged);
    await pass(first.manifest, { kind: "merged", directory: target.merged });
    expect(portrait(target.merged)).toBe(portrait(overlays.source.merged));
  });

  test("goes whole into a mounted root file system", { timeout: 120_000 }, async () => {
    const target = overlays.make("target", true);
    fill(overlays.source.merged);
    change(overlays.source.merged);
    await pass(EMPTY_MANIFEST, { kind: "merged", directory: target.merged });
    expect(portrait(target.merged)).toBe(portrait(overlays.source.merged));
  });

  test("keeps sparse files sparse", { timeout: 60_000 }, async () => {
    const target = overlays.make("target", false);
    fill(overlays.source.merged);
    await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    expect(statSync(join(target.upper, "data/sparse")).blocks).toBeLessThan(1000);
  });
});

describe("a second pass", () => {
  test("sends only what changed", { timeout: 60_000 }, async () => {
    const target = overlays.make("target", false);
    mkdirSync(join(overlays.source.merged, "d"));
    for (let i = 0; i < 1000; i++) writeFileSync(join(overlays.source.merged, `d/${i}`), "x");
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // past the racy second
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    writeFileSync(join(overlays.source.merged, "d/5"), "changed");
    const second = await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(second.changed).toBe(3); // the root, d, d/5
    expect(portrait(target.upper)).toBe(portrait(overlays.source.upper));
  });

  test("sends a file that was open for writing though its times say nothing", async () => {
    const target = overlays.make("target", false);
    writeFileSync(join(overlays.source.merged, "mapped"), "before");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    writeFileSync(join(target.upper, "mapped"), "stale!");
    const second = await pass(first.manifest, { kind: "upper", directory: target.upper }, new Set(["mapped"]));
    expect(second.changed).toBe(2);
    expect(readFileSync(join(target.upper, "mapped"), "utf8")).toBe("before");
  });

  test("takes a lost attribute off a directory", async () => {
    const target = overlays.make("target", false);
    mkdirSync(join(overlays.source.merged, "d/sub"), { recursive: true });
    writeFileSync(join(overlays.source.merged, "d/file"), "stays");
    setAttribute(join(overlays.source.merged, "d"), "user.gone", "1");
    setAttribute(join(overlays.source.merged, "d"), "user.stays", "2");
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    setAttribute(join(overlays.source.merged, "d"), "user.gone", null);
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(overlays.source.upper));
  });

  test("does not write through another name of a linked file", async () => {
    const target = overlays.make("target", false);
    writeFileSync(join(overlays.source.merged, "a"), "old");
    linkSync(join(overlays.source.merged, "a"), join(overlays.source.merged, "b"));
    const first = await pass(EMPTY_MANIFEST, { kind: "upper", directory: target.upper });
    // b becomes a file of its own.
    unlinkSync(join(overlays.source.merged, "b"));
    writeFileSync(join(overlays.source.merged, "b"), "new");
    await pass(first.manifest, { kind: "upper", directory: target.upper });
    expect(portrait(target.upper)).toBe(portrait(overlays.source.upper));
  });
});

describe("a stream that would lead out of the layer", () => {
  async function packOf(build: (root: string) => void): Promise<Readable> {
    const evil = join(overlays.base, "evil");
    rmSync(evil, { recursive: true, force: true });
    mkdirSync(evil);
    build(evil);
    return packLayer(evil, diffLayer(EMPTY_MANIFEST, await scanLayer(evil)), { live: false });
  }

  test("through a symlink that an earlier pass made is refused", async () => {
    const target = overlays.make("target", false);
    const outside = join(overlays.base, "outside");
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

  test("is not made: a directory became a link while it was read", async () => {
    const outside = join(overlays.base, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "of the host");
    const { upper, merged } = overlays.source;
    mkdirSync(join(merged, "d"));
    writeFileSync(join(merged, "d/file"), "of the container");
    const difference = diffLayer(EMPTY_MANIFEST, await scanLayer(upper));
    rmSync(join(merged, "d"), { recursive: true });
    symlinkSync(outside, join(merged, "d"));
    const bytes = Buffer.concat(await packLayer(upper, difference, { live: true }).toArray());
    expect(bytes.includes("./d")).toBe(true);
    expect(bytes.includes("d/file")).toBe(false);
    expect(bytes.includes("of the host")).toBe(false);
  });

  test("that ends early is refused", async () => {
    const target = overlays.make("target", false);
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

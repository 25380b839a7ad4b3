import { describe, expect, test } from "vitest";
import { diffLayer } from "./difference.ts";
import { LayerManifest } from "./manifest.ts";
import type { EntryType, LayerDifference, LayerEntry } from "./types.ts";

const SECOND_NS = 1_000_000_000n;
const OLD_NS = 1_000n * SECOND_NS;
const FIRST_SCAN_NS = 2_000n * SECOND_NS;
const SECOND_SCAN_NS = 3_000n * SECOND_NS;

interface TestEntry extends LayerEntry {
  readonly opaque: boolean;
  readonly attributeNames: string;
}

let inodes = 0n;
function entry(type: EntryType, more: Partial<TestEntry> = {}): TestEntry {
  inodes += 1n;
  return {
    type,
    sizeBytes: type === "file" ? 10 : 0,
    mtimeNs: OLD_NS,
    ctimeNs: OLD_NS,
    inode: inodes,
    links: 1,
    mode: 0o644,
    uid: 0,
    gid: 0,
    device: 0n,
    opaque: false,
    attributeNames: "",
    ...more,
  };
}

const ROOT_ENTRY = entry("directory");
const D = entry("directory");
const D_X = entry("file");
const LINK = entry("file", { links: 2 });
const base = { d: D, "d/x": D_X, "d/y": entry("file"), one: LINK, two: LINK };

function manifest(entries: Record<string, TestEntry>, takenAtNs: bigint): LayerManifest {
  const made = new LayerManifest(takenAtNs);
  for (const [path, { opaque, attributeNames: names, ...rest }] of Object.entries({ "": ROOT_ENTRY, ...entries })) {
    made.add(path, rest);
    if (opaque || names !== "") made.addAttributes(path, { opaque, names });
  }
  return made;
}
const before = manifest(base, FIRST_SCAN_NS);
const changedAt = { ctimeNs: 2_500n * SECOND_NS };

/** Sorted: the order among siblings is that of the scan. */
function listed({ changed, deleted, stripped }: LayerDifference) {
  return { changed: [...changed].sort(), deleted, stripped };
}

function difference(first: Record<string, TestEntry>, second: Record<string, TestEntry>, written: string[]) {
  const open = new Set(written);
  const { changed, compared } = diffLayer(
    manifest(first, FIRST_SCAN_NS),
    manifest(second, SECOND_SCAN_NS),
    open,
    new Set([...open, "elsewhere"]),
  );
  return { changed: [...changed].sort(), compared };
}

function diff(after: Record<string, TestEntry | undefined>, written?: ReadonlySet<string>) {
  const entries = Object.entries({ ...base, ...after }).filter((e): e is [string, TestEntry] => e[1] !== undefined);
  return listed(diffLayer(before, manifest(Object.fromEntries(entries), SECOND_SCAN_NS), written));
}

describe("what changed between two scans", () => {
  test("nothing", () => {
    expect(diff({})).toEqual({ changed: [], deleted: [], stripped: [] });
  });

  test.each<[string, Record<string, TestEntry | undefined>, string[], string[]]>([
    ["a file", { "d/x": { ...D_X, ...changedAt } }, ["", "d", "d/x"], []],
    ["a file of the same times but another inode", { "d/x": { ...D_X, inode: 999n } }, ["", "d", "d/x"], []],
    [
      "a file dated to the year 2400",
      { "d/x": { ...D_X, mtimeNs: 13_569_465_600n * SECOND_NS } },
      ["", "d", "d/x"],
      [],
    ],
    ["a new file", { "d/z": entry("file", changedAt) }, ["", "d", "d/z"], []],
    ["a file that is gone", { "d/x": undefined }, ["", "d"], ["d/x"]],
    ["a directory that is gone", { d: undefined, "d/x": undefined, "d/y": undefined }, [""], ["d"]],
    ["one name of a linked file", { one: { ...LINK, ...changedAt } }, ["", "one", "two"], []],
    ["a new socket", { s: entry("socket") }, [], []],
    ["a file that became a socket", { "d/x": entry("socket") }, ["", "d"], ["d/x"]],
    ["a file that became a whiteout", { "d/x": entry("whiteout") }, ["", "d", "d/x"], []],
    [
      "a directory made anew over that of the image",
      { d: { ...D, opaque: true, inode: 77n } },
      ["", "d", "d/x", "d/y"],
      ["d"],
    ],
  ])("%s", (_, after, changed, deleted) => {
    expect(diff(after)).toMatchObject({ changed, deleted });
  });

  test("a file that was open for writing", () => {
    expect(diff({}, new Set(["d/y", "elsewhere"])).changed).toEqual(["", "d", "d/y"]);
  });

  test("a file that was open for writing, of which it is known what was sent", () => {
    expect(difference(base, base, ["d/x"])).toEqual({ changed: [], compared: ["d/x"] });
    expect(difference(base, { ...base, "d/x": { ...D_X, ...changedAt, sizeBytes: 11 } }, ["d/x"])).toEqual({
      changed: [],
      compared: ["d/x"],
    });
  });

  test.each<[string, TestEntry]>([
    ["another inode", { ...D_X, inode: 999n }],
    ["two names", { ...D_X, links: 2 }],
    ["another type", { ...D_X, type: "symlink" }],
  ])("a file that was open for writing and has %s now is sent whole", (_, now) => {
    expect(difference(base, { ...base, "d/x": now }, ["d/x"])).toEqual({ changed: ["", "d", "d/x"], compared: [] });
  });

  test("a file that was open for writing in a directory made anew, and one that was not there, are sent whole", () => {
    const anew = { ...base, d: { ...D, opaque: true, inode: 77n }, "d/z": entry("file") };
    expect(difference(base, anew, ["d/x", "d/z"])).toEqual({ changed: ["", "d", "d/x", "d/y", "d/z"], compared: [] });
  });

  test("a file that changed just before the first scan", () => {
    const racy = { ...D_X, ctimeNs: FIRST_SCAN_NS - SECOND_NS / 2n };
    const first = manifest({ ...base, "d/x": racy }, FIRST_SCAN_NS);
    const second = manifest({ ...base, "d/x": racy }, SECOND_SCAN_NS);
    expect(listed(diffLayer(first, second)).changed).toEqual(["", "d", "d/x"]);
  });

  test("a directory that lost an attribute", () => {
    const had = manifest({ ...base, d: { ...D, attributeNames: "user.a\0user.b" } }, FIRST_SCAN_NS);
    const has = manifest({ ...base, d: { ...D, attributeNames: "user.b", ...changedAt } }, SECOND_SCAN_NS);
    expect(listed(diffLayer(had, has))).toMatchObject({ changed: ["", "d"], stripped: ["d"] });
  });

  test("whiteouts, which share an inode, do not change together", () => {
    const first = manifest({ w: entry("whiteout", { inode: 5n }) }, FIRST_SCAN_NS);
    const both = { w: entry("whiteout", { inode: 5n, links: 2, ...changedAt }), v: entry("whiteout", { inode: 5n }) };
    expect(listed(diffLayer(first, manifest(both, SECOND_SCAN_NS))).changed).toEqual(["", "v"]);
  });
});

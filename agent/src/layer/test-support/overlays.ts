/** Real overlay mounts for the tests of a layer, as Docker makes them. Needs root. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";

/** Everything about a tree as one text: names, types, metadata, contents, attributes, link sets. */
export function portrait(directory: string): string {
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

export function setAttribute(path: string, name: string, value: string | null): void {
  const script =
    value === null
      ? "import os,sys; os.removexattr(sys.argv[1], sys.argv[2])"
      : "import os,sys; os.setxattr(sys.argv[1], sys.argv[2], os.fsencode(sys.argv[3]))";
  execFileSync("python3", ["-c", script, path, name, ...(value === null ? [] : [value])]);
}

export interface Overlay {
  readonly upper: string;
  readonly merged: string;
}

export interface Overlays {
  /** A directory of this test alone. */
  readonly base: string;
  /** Mounted: where the container of the test runs. */
  readonly source: Overlay;
  make(name: string, mount: boolean): Overlay;
  mount(name: string): void;
}

/** For a test file: all mounts of a test are over the same image, and gone after it. */
export function useOverlays(): Overlays {
  let base = "";
  let source: Overlay = { upper: "", merged: "" };
  const mounted: string[] = [];

  function mount(name: string): void {
    const merged = join(base, `${name}-merged`);
    const options = `index=off,lowerdir=${join(base, "lower")},upperdir=${join(base, `${name}-upper`)},workdir=${join(base, `${name}-work`)}`;
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", options, merged]);
    mounted.push(merged);
  }

  function make(name: string, isMounted: boolean): Overlay {
    const [upper = "", work = "", merged = ""] = ["upper", "work", "merged"].map((part) =>
      join(base, `${name}-${part}`),
    );
    for (const directory of [upper, work, merged]) mkdirSync(directory, { recursive: true });
    if (isMounted) mount(name);
    return { upper, merged };
  }

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "drayage-layer-"));
    fillImage(join(base, "lower"));
    source = make("source", true);
  });

  afterEach(() => {
    for (const merged of mounted.splice(0)) execFileSync("umount", [merged]);
    rmSync(base, { recursive: true, force: true });
  });

  return {
    get base() {
      return base;
    },
    get source() {
      return source;
    },
    make,
    mount,
  };
}

function fillImage(lower: string): void {
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
}

/**
 * The receiving side of a layer.
 *
 * The stream comes from another host, and its names from whoever runs in the container. Each name is checked before
 * tar sees it: it must lie in the layer, and every directory above it must be a real directory, in the target or from
 * this stream. What stands in the way of a member is removed first, so that nothing is ever written through a link.
 */
import { lstatSync, rmSync } from "node:fs";
import { mkdir, readdir, rename, rmdir } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { DrayError, toDrayError } from "@drayage/shared/errors/dray-error.ts";
import { ancestors, hostPath, parseLayerPath, printable, ROOT } from "./layer-path.ts";
import { GrowingBytes } from "./growing-array.ts";
import { applyPatches } from "./patch.ts";
import { NOWHERE, PathTree } from "./path-tree.ts";
import { splitHead } from "./stream-head.ts";
import { extractArguments, startTar, tarError } from "./tar-command.ts";
import { filterTar, type TarMember } from "./tar-filter.ts";
import type { LayerPath, LayerTarget } from "./types.ts";

/**
 * Brings the target to what the stream says. The target is in between when this throws: CORRUPT_STREAM (not a layer
 * stream, ended early, or a path that leads out), NO_SPACE, COMMAND_FAILED.
 */
export async function applyLayer(target: LayerTarget, stream: Readable, signal?: AbortSignal): Promise<void> {
  const { head, rest } = await splitHead(stream);
  const guard = new TargetGuard(target);
  for (const path of head.deleted) guard.remove(path);
  for (const path of head.stripped) await renewDirectory(guard, path);
  await applyPatches(target.directory, head.patched, rest);

  const ending = new AbortController();
  const tar = startTar(
    target.directory,
    extractArguments(target.kind),
    signal === undefined ? ending.signal : AbortSignal.any([signal, ending.signal]),
  );
  tar.child.stdout?.resume();
  const { stdin } = tar.child;
  if (stdin === null) throw tarError("unpack a layer", "no pipes");
  try {
    let complete = false;
    async function* checked(): AsyncGenerator<Buffer, void, void> {
      for await (const chunk of filterTar(rest.rest(), (member) => guard.admit(member))) yield chunk;
      complete = true;
    }
    const broken = await pipeline(Readable.from(checked(), { objectMode: false }), stdin).then(
      () => undefined,
      (error: unknown) => error,
    );
    // Our own refusal of the stream tells more than what tar makes of its end; tar's words more than a broken pipe.
    if (broken instanceof DrayError) throw broken;
    const { code, words } = await tar.ended;
    signal?.throwIfAborted();
    if (code !== 0) throw tarError(`unpack the layer ${target.directory}`, words);
    // A tar that has read its end mark closes the pipe without waiting for us to do it.
    if (!complete) throw toDrayError(broken);
  } finally {
    ending.abort();
    await tar.ended;
    stream.destroy();
  }
}

/** "whiteout" was made by removing. The place of undefined is 0: a directory that only leads to what was made. */
const MADE_KINDS = [undefined, "directory", "whiteout", "other"] as const;
type MadeKind = Exclude<(typeof MADE_KINDS)[number], undefined>;

class TargetGuard {
  readonly target: LayerTarget;
  readonly #base: Buffer;
  readonly #made = new MadePaths();
  /** Directories of the target that were looked at and are none of this stream's. */
  readonly #standing = new Set<LayerPath>([ROOT]);

  constructor(target: LayerTarget) {
    this.target = target;
    this.#base = Buffer.from(target.directory);
  }

  path(path: LayerPath): Buffer {
    return hostPath(this.#base, path);
  }

  /** Removes with all below; nothing to do if it is not there, or its directory is not. */
  remove(path: LayerPath): void {
    if (path === ROOT) throw refused(path, "asks to remove the layer itself");
    if (this.#firstUnsound(path) === undefined) rmSync(this.path(path), { recursive: true, force: true });
  }

  requireParents(path: LayerPath): void {
    const unsound = this.#firstUnsound(path);
    if (unsound !== undefined) throw refused(path, `leads through ${printable(unsound)}, which is no directory`);
  }

  /** Checks a member and makes room for it; false if tar shall not see it. */
  admit(member: TarMember): boolean {
    const path = parseLayerPath(member.name);
    if (path === ROOT) {
      if (member.type !== "directory") throw refused(path, "makes the layer itself something else");
      return true;
    }
    this.requireParents(path);
    const whiteout = this.#isWhiteout(member);
    if (member.type === "link" && !whiteout) this.#requireLinkTarget(member);
    const standing = lstatSync(this.path(path), { throwIfNoEntry: false });
    if (standing !== undefined && !(member.type === "directory" && standing.isDirectory())) {
      rmSync(this.path(path), { recursive: true, force: true });
    }
    this.#made.set(path, whiteout ? "whiteout" : member.type === "directory" ? "directory" : "other");
    // A mounted overlay makes the whiteout itself when the file is removed.
    return !(whiteout && this.target.kind === "merged");
  }

  /** The first of the directories above a path that is none, or undefined. */
  #firstUnsound(path: LayerPath): LayerPath | undefined {
    for (const directory of ancestors(path)) {
      const made = this.#made.get(directory);
      if (made === "directory") continue;
      if (made !== undefined) return directory;
      if (this.#standing.has(directory)) continue;
      if (lstatSync(this.path(directory), { throwIfNoEntry: false })?.isDirectory() !== true) return directory;
      this.#standing.add(directory);
    }
    return undefined;
  }

  /** Overlayfs makes all whiteouts links to one inode, and so does tar. */
  #isWhiteout(member: TarMember): boolean {
    if (member.type === "character") return member.deviceMajor === 0 && member.deviceMinor === 0;
    return member.type === "link" && this.#made.get(parseLayerPath(member.linkName)) === "whiteout";
  }

  #requireLinkTarget(member: TarMember): void {
    const made = this.#made.get(parseLayerPath(member.linkName));
    if (made === undefined || made === "directory") {
      throw refused(parseLayerPath(member.name), "is a link to something that is not in the stream");
    }
  }
}

/** What a stream has made so far. */
class MadePaths {
  readonly #tree = new PathTree();
  readonly #kinds = new GrowingBytes();

  get(path: LayerPath): MadeKind | undefined {
    const number = this.#tree.find(path);
    return number === NOWHERE || number >= this.#kinds.length ? undefined : MADE_KINDS[this.#kinds.bytes[number] ?? 0];
  }

  set(path: LayerPath, kind: MadeKind): void {
    const number = this.#tree.add(path);
    this.#kinds.extend(number + 1);
    this.#kinds.bytes[number] = MADE_KINDS.indexOf(kind);
  }
}

/** There is no way to take an attribute off a directory but to make it anew around what it holds. */
async function renewDirectory(guard: TargetGuard, path: LayerPath): Promise<void> {
  guard.requireParents(path);
  if (lstatSync(guard.path(path), { throwIfNoEntry: false })?.isDirectory() !== true) return;
  const aside = Buffer.concat([guard.path(path), Buffer.from(".drayage-aside")]);
  try {
    await rename(guard.path(path), aside);
  } catch (thrown) {
    throw new DrayError("COMMAND_FAILED", `the directory ${printable(path)} lost an attribute and cannot be renewed`, {
      remedy: "Migrate again: the first pass over the layer carries this.",
      cause: thrown,
    });
  }
  await mkdir(guard.path(path));
  for (const name of await readdir(aside, { encoding: "buffer" })) {
    const slash = Buffer.from("/");
    await rename(Buffer.concat([aside, slash, name]), Buffer.concat([guard.path(path), slash, name]));
  }
  await rmdir(aside);
}

function refused(path: LayerPath, what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the layer stream is refused: ${printable(path)} ${what}`, {
    remedy: "Nothing was written outside of the container. Look at the source node: it may have been tampered with.",
  });
}

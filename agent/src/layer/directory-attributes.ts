/** Extended attributes of directories. Node cannot read them; the headers that tar writes for a directory hold them. */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { parseLayerPath, ROOT } from "./layer-path.ts";
import { createArguments, startTar, tarError } from "./tar-command.ts";
import { filterTar } from "./tar-filter.ts";
import type { LayerPath } from "./types.ts";

export interface DirectoryAttributes {
  readonly opaque: boolean;
  /** Sorted, joined by NUL. */
  readonly names: string;
}

const PIECE_BYTES = 16 * 1024;
const ATTRIBUTE = /^SCHILY\.(?:xattr\.|acl\.)/;
const OPAQUE = "SCHILY.xattr.trusted.overlay.opaque";

/** Only directories that have attributes are in the answer. Directories that vanished meanwhile are left out. */
export async function directoryAttributes(
  layer: string,
  directories: Iterable<LayerPath>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<LayerPath, DirectoryAttributes>> {
  const found = new Map<LayerPath, DirectoryAttributes>();
  const tar = startTar(layer, createArguments(true), signal);
  const { stdin, stdout } = tar.child;
  if (stdin === null || stdout === null) throw tarError("read attributes", "no pipes");
  const listed = pipeline(nameList(directories), stdin);
  // Directories have no data: what passes is headers, and none of them is kept.
  const read = (async () => {
    for await (const _ of filterTar(stdout, (member) => {
      const names = [...member.records.keys()].filter((key) => ATTRIBUTE.test(key)).sort();
      if (names.length > 0) {
        const opaque = member.records.get(OPAQUE) === "y";
        found.set(parseLayerPath(member.name), { opaque, names: names.join("\0") });
      }
      return false;
    }));
  })();
  const results = await Promise.allSettled([listed, read]);
  const { code, words } = await tar.ended;
  signal?.throwIfAborted();
  if (code !== 0 && code !== 1) throw tarError(`read attributes of ${layer}`, words);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  return found;
}

/** Names for tar's --files-from: NUL-terminated bytes, in pieces. */
export function nameList(paths: Iterable<LayerPath>): Readable {
  function* pieces(): Generator<Buffer> {
    let piece = "";
    for (const path of paths) {
      piece += path === ROOT ? ".\0" : `./${path}\0`;
      if (piece.length < PIECE_BYTES) continue;
      yield Buffer.from(piece, "latin1");
      piece = "";
    }
    if (piece !== "") yield Buffer.from(piece, "latin1");
  }
  return Readable.from(pieces(), { objectMode: false });
}

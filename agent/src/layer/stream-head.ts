/**
 * What precedes the tar in a layer stream:
 *
 *   8 bytes "DRAYLYR2" | u32 big-endian length | JSON { deleted, stripped, patched } (byte strings) | pages of `patched`
 *
 * The pages come in the order of the files and their ranges, each whole: what is behind the end of a file is zero.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";
import { ByteQueue } from "./byte-queue.ts";
import { pageCount } from "./file-pages.ts";
import { parseLayerPath } from "./layer-path.ts";
import type { FilePatch, LayerPath } from "./types.ts";

const MAGIC = Buffer.from("DRAYLYR2");
const PREFIX_BYTES = MAGIC.length + 4;
const JSON_LIMIT_BYTES = 256 * 1024 * 1024;

const Count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const Patch = z.object({
  path: z.string(),
  sizeBytes: Count,
  /** Nanoseconds since the epoch, may be negative. */
  modifiedNs: z.string().regex(/^-?[0-9]{1,20}$/),
  ranges: z.array(z.tuple([Count, Count.min(1)])),
});
const Head = z.object({
  deleted: z.array(z.string()),
  stripped: z.array(z.string()),
  patched: z.array(Patch),
});

export interface LayerStreamHead {
  readonly deleted: readonly LayerPath[];
  readonly stripped: readonly LayerPath[];
  readonly patched: readonly FilePatch[];
}

export function encodeHead({ deleted, stripped, patched }: LayerStreamHead): Buffer {
  const patches = patched.map(({ modifiedNs, ...patch }) => ({ ...patch, modifiedNs: String(modifiedNs) }));
  const json = Buffer.from(JSON.stringify({ deleted, stripped, patched: patches }), "latin1");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([MAGIC, length, json]);
}

/** The head, and what follows it. Throws CORRUPT_STREAM. */
export async function splitHead(stream: AsyncIterable<Buffer>): Promise<{ head: LayerStreamHead; rest: ByteQueue }> {
  const rest = new ByteQueue(stream, () => corrupt("ends before the tar in it"));
  const prefix = await rest.exactly(PREFIX_BYTES);
  if (!prefix.subarray(0, MAGIC.length).equals(MAGIC)) throw corrupt("does not begin as one");
  const jsonBytes = prefix.readUInt32BE(MAGIC.length);
  if (jsonBytes > JSON_LIMIT_BYTES) throw corrupt("has a head that is too large");
  return { head: parseHead((await rest.exactly(jsonBytes)).toString("latin1")), rest };
}

function parseHead(json: string): LayerStreamHead {
  const parsed = Head.safeParse(parseJson(json));
  if (!parsed.success) throw corrupt("has a damaged head");
  const paths = (names: readonly string[]): LayerPath[] => names.map(parseLayerPath);
  const { deleted, stripped, patched } = parsed.data;
  return { deleted: paths(deleted), stripped: paths(stripped), patched: patched.map(patchOf) };
}

/** Ranges must ascend and lie in the file: it could be made any size otherwise. */
function patchOf({ path, sizeBytes, modifiedNs, ranges }: z.infer<typeof Patch>): FilePatch {
  const pages = pageCount(sizeBytes);
  let next = 0;
  for (const [first, count] of ranges) {
    if (first < next || first + count > pages) throw corrupt("has pages that are not in their file");
    next = first + count;
  }
  return { path: parseLayerPath(path), sizeBytes, modifiedNs: BigInt(modifiedNs), ranges };
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function corrupt(what: string): DrayError {
  return new DrayError("CORRUPT_STREAM", `the layer stream ${what}`);
}

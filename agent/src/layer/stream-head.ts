/**
 * What precedes the tar in a layer stream:
 *
 *   8 bytes "DRAYLYR1" | u32 big-endian length | JSON { deleted, stripped } (byte strings)
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { z } from "zod";
import { parseLayerPath } from "./layer-path.ts";
import type { LayerPath } from "./types.ts";

const MAGIC = Buffer.from("DRAYLYR1");
const PREFIX_BYTES = MAGIC.length + 4;
const JSON_LIMIT_BYTES = 256 * 1024 * 1024;

const Head = z.object({ deleted: z.array(z.string()), stripped: z.array(z.string()) });

export interface LayerStreamHead {
  readonly deleted: readonly LayerPath[];
  readonly stripped: readonly LayerPath[];
}

export function encodeHead(head: LayerStreamHead): Buffer {
  const json = Buffer.from(JSON.stringify({ deleted: head.deleted, stripped: head.stripped }), "latin1");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([MAGIC, length, json]);
}

/** The head, and what follows it. Throws CORRUPT_STREAM. */
export async function splitHead(
  stream: AsyncIterable<Buffer>,
): Promise<{ head: LayerStreamHead; rest: AsyncIterable<Buffer> }> {
  const source = stream[Symbol.asyncIterator]();
  let buffered: Buffer = Buffer.alloc(0);
  const need = async (bytes: number): Promise<void> => {
    const parts = [buffered];
    let have = buffered.length;
    while (have < bytes) {
      const next = await source.next();
      if (next.done === true) throw corrupt("ends within its head");
      parts.push(next.value);
      have += next.value.length;
    }
    buffered = parts.length === 1 ? buffered : Buffer.concat(parts);
  };
  await need(PREFIX_BYTES);
  if (!buffered.subarray(0, MAGIC.length).equals(MAGIC)) throw corrupt("does not begin as one");
  const jsonBytes = buffered.readUInt32BE(MAGIC.length);
  if (jsonBytes > JSON_LIMIT_BYTES) throw corrupt("has a head that is too large");
  await need(PREFIX_BYTES + jsonBytes);
  const json = buffered.toString("latin1", PREFIX_BYTES, PREFIX_BYTES + jsonBytes);
  const remainder = buffered.subarray(PREFIX_BYTES + jsonBytes);
  buffered = Buffer.alloc(0);
  async function* rest(): AsyncGenerator<Buffer, void, void> {
    try {
      if (remainder.length > 0) yield remainder;
      for (let next = await source.next(); next.done !== true; next = await source.next()) yield next.value;
    } finally {
      await source.return?.();
    }
  }
  return { head: parseHead(json), rest: rest() };
}

function parseHead(json: string): LayerStreamHead {
  const parsed = Head.safeParse(parseJson(json));
  if (!parsed.success) throw corrupt("has a damaged head");
  const paths = (names: readonly string[]): LayerPath[] => names.map(parseLayerPath);
  return { deleted: paths(parsed.data.deleted), stripped: paths(parsed.data.stripped) };
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

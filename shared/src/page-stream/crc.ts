/**
 * CRC-32 as zlib takes it. Large pieces by a way of the process's own, if it has a faster one: of noise, which needs no
 * other work, the checksum is a third of what a page costs on its way.
 */
import { crc32 as crc32OfZlib } from "node:zlib";

/** Gives what zlib's does. */
export type Crc32 = (bytes: Buffer, seed: number) => number;

/** Below, a call out of JavaScript costs more than it saves. */
const LARGE_BYTES = 4096;

let crc32OfLarge: Crc32 = crc32OfZlib;

/** For this thread, from now on. */
export function takeCrc32(faster: Crc32): void {
  crc32OfLarge = faster;
}

/** Of what came before (`seed`, 0 for nothing) and of these bytes. */
export function crc32(bytes: Buffer, seed: number): number {
  return bytes.length < LARGE_BYTES ? crc32OfZlib(bytes, seed) : crc32OfLarge(bytes, seed);
}

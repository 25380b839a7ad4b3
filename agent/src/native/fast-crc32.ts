/** The addon's CRC-32 for the page stream, where it is the faster one. */
import { takeCrc32 } from "@drayage/shared/page-stream/crc.ts";
import { addon } from "./addon.ts";

/** For this thread. False if zlib's stays, since the processor does it no faster, or there is no addon: others need that. */
export function useFastCrc32(): boolean {
  try {
    const { crc32 } = addon();
    if (crc32(Buffer.alloc(0), 0) < 0) return false;
    takeCrc32(crc32);
    return true;
  } catch {
    return false;
  }
}

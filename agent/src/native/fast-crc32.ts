/** The addon's CRC-32 for the page stream, where it is the faster one. */
import { takeCrc32 } from "@drayage/shared/page-stream/crc.ts";
import { addon } from "./addon.ts";

/** For this thread. */
export function useFastCrc32(): void {
  const { crc32 } = addon();
  if (crc32(Buffer.alloc(0), 0) >= 0) takeCrc32(crc32);
}

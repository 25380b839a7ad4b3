import { randomBytes } from "node:crypto";

/** An eighth of each kilobyte can be saved: that pays on a slow link only. */
export function toughContent(bytes: number): Buffer {
  return Buffer.from(randomBytes(bytes).map((byte, at) => (at % 1024 < 896 ? byte : 7)));
}

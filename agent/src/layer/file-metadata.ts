/** What Node cannot read or set of an open file. */
import { getSystemErrorName } from "node:util";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { addon } from "../native/addon.ts";

/** In the place of the size of a value. */
const UNREADABLE = 0xffff_ffff;
const SECOND_NS = 1_000_000_000n;

/** Extended attributes of an open file: byte strings, by name. One whose value cannot be read has a value of its own. */
export function attributesOf(fd: number): ReadonlyMap<string, string> {
  const bytes = addon().attributes(fd);
  const attributes = new Map<string, string>();
  if (typeof bytes === "number") {
    if (bytes === 0) return attributes;
    throw new DrayError("COMMAND_FAILED", `read the attributes of a file: ${getSystemErrorName(bytes)}`);
  }
  for (let at = 0; at < bytes.length; ) {
    const nameEnd = bytes.indexOf(0, at);
    const name = bytes.toString("latin1", at, nameEnd);
    const size = bytes.readUInt32LE(nameEnd + 1);
    const start = nameEnd + 1 + 4;
    const end = size === UNREADABLE ? start : start + size;
    attributes.set(name, size === UNREADABLE ? "unreadable" : `=${bytes.toString("latin1", start, end)}`);
    at = end;
  }
  return attributes;
}

export function setModified(fd: number, timeNs: bigint): void {
  const nanoseconds = ((timeNs % SECOND_NS) + SECOND_NS) % SECOND_NS;
  const error = addon().setModified(fd, Number((timeNs - nanoseconds) / SECOND_NS), Number(nanoseconds));
  if (error !== 0) throw new DrayError("COMMAND_FAILED", `set the time of a file: ${getSystemErrorName(error)}`);
}

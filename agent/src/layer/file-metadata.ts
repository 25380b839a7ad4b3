/** What Node cannot read or set of an open file. */
import { getSystemErrorName } from "node:util";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { addon } from "../native/addon.ts";

const SECOND_NS = 1_000_000_000n;

/** Extended attributes of an open file, as bytes to compare. */
export function attributesOf(fd: number): Buffer {
  const attributes = addon().attributes(fd);
  if (typeof attributes !== "number") return attributes;
  if (attributes === 0) return Buffer.alloc(0);
  throw new DrayError("COMMAND_FAILED", `read the attributes of a file: ${getSystemErrorName(attributes)}`);
}

export function setModified(fd: number, timeNs: bigint): void {
  const nanoseconds = ((timeNs % SECOND_NS) + SECOND_NS) % SECOND_NS;
  const error = addon().setModified(fd, Number((timeNs - nanoseconds) / SECOND_NS), Number(nanoseconds));
  if (error !== 0) throw new DrayError("COMMAND_FAILED", `set the time of a file: ${getSystemErrorName(error)}`);
}

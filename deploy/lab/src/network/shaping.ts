/** Link rates: one token bucket in each direction. The kernel needs no more than sch_tbf. */
import { LabError } from "../errors.ts";

const UNITS: Readonly<Record<string, number>> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const LATENCY_MS = 50;
/** A bucket holds what the rate passes in this time, and at least some whole offloaded segments. */
const BURST_MS = 4;
const BURST_BYTES_MIN = 128 * 1024;

/** Bits per second of `100mbit`, `1gbit`, `512kbit`; undefined for `none`. */
export function parseRate(text: string): number | undefined {
  if (text === "none") return undefined;
  const match = /^(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)$/.exec(text.toLowerCase());
  const bitsPerSecond = Number(match?.[1]) * (UNITS[match?.[2] ?? ""] ?? Number.NaN);
  if (!(bitsPerSecond >= 8_000)) {
    throw new LabError("usage", `not a rate: ${text}`, { remedy: "write it like 1gbit, 100mbit, 512kbit, or none" });
  }
  return bitsPerSecond;
}

/** tc's arguments that give the interface's outgoing side the rate, or take it away. */
export function shapeArgv(device: string, bitsPerSecond: number | undefined): string[] {
  if (bitsPerSecond === undefined) return ["tc", "qdisc", "delete", "dev", device, "root"];
  const burstBytes = Math.max(BURST_BYTES_MIN, Math.ceil((bitsPerSecond / 8) * (BURST_MS / 1000)));
  return [
    ...["tc", "qdisc", "replace", "dev", device, "root", "tbf"],
    ...["rate", `${bitsPerSecond}bit`, "burst", `${burstBytes}b`, "latency", `${LATENCY_MS}ms`],
  ];
}

import { uptime } from "node:os";

/** The boot-time clock in milliseconds: it counts suspended time and never jumps; drayage-runc reads the same. */
export function bootClockMs(): number {
  return Math.round(uptime() * 1000);
}

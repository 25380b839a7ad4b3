/**
 * Milliseconds since boot, counting suspended time (CLOCK_BOOTTIME).
 *
 * `process.hrtime` and `performance.now` read CLOCK_MONOTONIC, which stands
 * still while the host is suspended; a lease in etcd does not. libuv's uptime
 * reads /proc/uptime, the kernel's boot-time clock, in steps of 10 ms: callers
 * that guard something add BOOT_CLOCK_STEP_MS to what they measured.
 */
import { uptime } from "node:os";

export const BOOT_CLOCK_STEP_MS = 10;

export function bootTimeMs(): number {
  return uptime() * 1000;
}

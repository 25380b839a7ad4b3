/** What Docker lets a container have of memory. Pure. */
import { z } from "zod";

/** 0 is no limit; of memory and swap together also -1. */
const Limits = z.object({
  HostConfig: z.object({ Memory: z.number().default(0), MemorySwap: z.number().default(0) }).optional(),
});

/** Of memory and swap together, by Docker's description of the container (JSON, may be empty); null without a limit. */
export function memoryLimitBytes(inspectJson: string): number | null {
  const { success, data } = Limits.safeParse(inspectJson === "" ? {} : JSON.parse(inspectJson));
  const { Memory = 0, MemorySwap = 0 } = success ? (data.HostConfig ?? {}) : {};
  const limitBytes = MemorySwap === 0 ? Memory : MemorySwap;
  return limitBytes <= 0 ? null : limitBytes;
}

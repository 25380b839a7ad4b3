/** What a container may have of memory, and what its copy would have that gets it page by page. Pure. */
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";
import { z } from "zod";

/** Of Docker's description of a container; 0 is no limit. */
const Limits = z.object({ HostConfig: z.object({ Memory: z.number().default(0) }).optional() });

/**
 * Why a copy that fetches its memory would be killed for it; empty if it would not. What processes share since they
 * were forked counts once where it is, and would be each one's own.
 */
export function moreThanItsLimit({
  inspectJson,
  memoryBytes,
}: Pick<SourceDescription, "inspectJson" | "memoryBytes">): string {
  const { success, data } = Limits.safeParse(inspectJson === "" ? {} : JSON.parse(inspectJson));
  const limitBytes = success ? (data.HostConfig?.Memory ?? 0) : 0;
  if (limitBytes === 0 || memoryBytes <= limitBytes) return "";
  return `its processes share memory of which each would have its own: ${mebibytes(memoryBytes)} in all, with a limit of ${mebibytes(limitBytes)}`;
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}

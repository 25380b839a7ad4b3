/** What a container may have of memory, and what its copy would have that gets it page by page. Pure. */
import { memoryLimitBytes } from "@drayage/shared/docker/memory-limit.ts";
import type { SourceDescription } from "@drayage/shared/gen/drayage/agent/v1/agent.ts";

/**
 * Why a copy that fetches its memory would be killed for it; empty if it would not. What processes share since they
 * were forked counts once where it is, and would be each one's own.
 */
export function moreThanItsLimit({
  inspectJson,
  memoryBytes,
}: Pick<SourceDescription, "inspectJson" | "memoryBytes">): string {
  const limitBytes = memoryLimitBytes(inspectJson);
  if (limitBytes === null || memoryBytes <= limitBytes) return "";
  return `each of its processes would have for itself what they share: ${mebibytes(memoryBytes)} in all, with a limit of ${mebibytes(limitBytes)}`;
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}

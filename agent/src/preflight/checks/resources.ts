/** Memory, disk and image on the destination. */
import { type Check, when } from "../check.ts";
import type { DestinationFacts } from "../destination-facts.ts";

/** Images in transit lie in memory only where they fit beside the restored pages; this is for everything else. */
const MEMORY_RESERVE_BYTES = 64 * 1024 * 1024;
const DISK_RESERVE_BYTES = 64 * 1024 * 1024;

export const RESOURCE_CHECKS: readonly Check<DestinationFacts>[] = [
  {
    code: "memory-short",
    severity: "blocking",
    find: ({ description, memoryAvailableBytes }) => {
      const needed = description.memoryBytes + MEMORY_RESERVE_BYTES;
      return when(
        memoryAvailableBytes < needed,
        `The container needs ${mebibytes(needed)} of memory, and ${mebibytes(memoryAvailableBytes)} are free here.`,
        "Free memory here or choose another host.",
      );
    },
  },
  {
    code: "disk-short",
    severity: "blocking",
    find: ({ description, diskFreeBytes, info }) => {
      const needed = description.layerBytes + DISK_RESERVE_BYTES;
      return when(
        diskFreeBytes < needed,
        `The container's files need ${mebibytes(needed)} on ${info.DockerRootDir}, and ${mebibytes(diskFreeBytes)} are free.`,
        "Free disk space here (`docker system df`) or choose another host.",
      );
    },
  },
  {
    code: "images-do-not-fit",
    severity: "blocking",
    find: ({ transit: { neededBytes, bases, base } }) =>
      when(
        base === null,
        `The images of the container's memory need ${mebibytes(neededBytes)}, which are not free below ${bases.join(" or below ")}.`,
        `Free space below ${bases.at(-1)} here or choose another host.`,
      ),
  },
  {
    code: "image-absent",
    severity: "note",
    find: ({ imagePresent, description, sourceNode }) =>
      when(
        !imagePresent,
        `The container's image (${description.imageTags[0] ?? description.imageDigest} on ${sourceNode}) is not here, by its digest; it is streamed from there.`,
        "Pull the same image here beforehand to shorten the migration.",
      ),
  },
];

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}

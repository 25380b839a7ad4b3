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
    find: ({ description: { memoryBytes, tmpfsBytes }, memoryAvailableBytes }) => {
      const demands = [
        { what: "its processes", bytes: memoryBytes },
        { what: "what lies in its tmpfs", bytes: tmpfsBytes },
        { what: "everything else", bytes: MEMORY_RESERVE_BYTES },
      ];
      return when(
        memoryAvailableBytes < total(demands),
        `The container needs ${sum(demands)} of memory, and ${mebibytes(memoryAvailableBytes)} are free here.`,
        "Free memory here or choose another host.",
      );
    },
  },
  {
    code: "disk-short",
    severity: "blocking",
    find: (facts) => {
      const demands = demandsOnDockerDisk(facts);
      const { freeBytes } = facts.dockerDisk;
      return when(
        freeBytes < total(demands),
        `The container needs ${sum(demands)} on the file system of ${facts.info.DockerRootDir}, and ${mebibytes(freeBytes)} are free there.`,
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

interface Demand {
  readonly what: string;
  readonly bytes: number;
}

/** All that comes to lie where Docker keeps its data. */
function demandsOnDockerDisk({ description, imagePresent, dockerDisk, transit }: DestinationFacts): Demand[] {
  return [
    { what: "its writable layer", bytes: description.layerBytes },
    // Docker keeps all of the stream until it has made the layers from it.
    { what: "loading its image", bytes: imagePresent ? 0 : 2 * description.imageBytes },
    {
      what: `the images of its memory below ${transit.base}`,
      bytes: transit.device === dockerDisk.device ? transit.neededBytes : 0,
    },
    { what: "everything else", bytes: DISK_RESERVE_BYTES },
  ];
}

function total(demands: readonly Demand[]): number {
  return demands.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** "300 MiB (200 MiB for its writable layer, 100 MiB for everything else)". */
function sum(demands: readonly Demand[]): string {
  const parts = demands.filter(({ bytes }) => bytes > 0).map(({ what, bytes }) => `${mebibytes(bytes)} for ${what}`);
  return `${mebibytes(total(demands))} (${parts.join(", ")})`;
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}

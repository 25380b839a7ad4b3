/** What the processes of a container watch with inotify, by path; see file-watches.ts. */
import { watchesOf, resolveWatches } from "../host/file-watches.ts";
import { mountsOf } from "../host/mountinfo.ts";
import { namespacePids } from "../layer/written-paths.ts";

/** Paths in the container. What has no path is left out: CRIU will say that it cannot dump it. */
export async function watchedPaths(initPid: number, signal?: AbortSignal): Promise<readonly string[]> {
  const watches = (await Promise.all(namespacePids(initPid).map(watchesOf))).flat();
  if (watches.length === 0) return [];
  return (await resolveWatches(initPid, watches, await mountsOf(initPid), signal)).paths;
}

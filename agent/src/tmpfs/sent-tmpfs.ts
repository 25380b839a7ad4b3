/**
 * A tmpfs of a container on its way, as a tree of files.
 *
 * The times of its files prove nothing. The kernel sets them when a page of a shared mapping is written to for the first
 * time, but not if it was read before: there is nothing to be written back, so a page that is read is mapped writable at
 * once. Whoever maps, reads, writes and unmaps between the two passes leaves no trace. So all files count as written:
 * those that are worth it are compared by content while the container stands still, and small ones sent again.
 */
import type { LayerManifest } from "../layer/layer.ts";
import { type FirstPass, type Rest, SentTree } from "../layer/sent-tree.ts";
import type { LayerPath } from "../layer/types.ts";
import type { CarriedTmpfs } from "./carried-tmpfs.ts";
import type { TransitMounts } from "./transit-mounts.ts";

export class SentTmpfs {
  /** Among those of the container that are sent. */
  readonly number: number;
  readonly mount: CarriedTmpfs;
  readonly #tree: SentTree;

  private constructor(number: number, mount: CarriedTmpfs, directory: string) {
    this.number = number;
    this.mount = mount;
    this.#tree = new SentTree(directory);
  }

  /** Mounts it here; `mounts` unmounts it. `initPid` is the container's first process, here. NOT_FOUND if it is gone; COMMAND_FAILED. */
  static async attach(
    mounts: TransitMounts,
    { initPid, number, mount }: { readonly initPid: number; readonly number: number; readonly mount: CarriedTmpfs },
    signal: AbortSignal,
  ): Promise<SentTmpfs> {
    return new SentTmpfs(number, mount, await mounts.attach(initPid, number, mount, signal));
  }

  /** While the container runs. */
  first(signal: AbortSignal): Promise<FirstPass> {
    return this.#tree.first(filesOf, signal);
  }

  /** While it is frozen. */
  rest(signal: AbortSignal): Promise<Rest> {
    return this.#tree.rest(filesOf, signal);
  }
}

async function filesOf(manifest: LayerManifest): Promise<Set<LayerPath>> {
  const found = new Set<LayerPath>();
  for (let entry = 0; entry < manifest.tree.size; entry++) {
    if (manifest.has(entry) && manifest.type(entry) === "file") found.add(manifest.tree.path(entry));
  }
  return found;
}

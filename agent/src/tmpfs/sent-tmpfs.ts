/**
 * A tmpfs of a container on its way, as a tree of files.
 *
 * The times of its files tell of everything but what is written to a page that is mapped for writing already: the
 * kernel sets them at the first write to each page of a mapping alone. What was mapped in the first pass counts as
 * written for that reason, and what is mapped in the freeze.
 */
import type { LayerManifest } from "../layer/layer.ts";
import { type FirstPass, type Rest, SentTree } from "../layer/sent-tree.ts";
import type { LayerPath } from "../layer/types.ts";
import type { CarriedTmpfs } from "./carried-tmpfs.ts";
import { openInodes } from "./open-inodes.ts";
import type { TransitMounts } from "./transit-mounts.ts";

export interface TmpfsOfContainer {
  /** Of the container's first process, here. */
  readonly initPid: number;
  /** Among those of the container that are sent. */
  readonly number: number;
  readonly mount: CarriedTmpfs;
}

export class SentTmpfs {
  readonly number: number;
  readonly mount: CarriedTmpfs;
  readonly #initPid: number;
  readonly #directory: string;
  readonly #tree: SentTree;

  private constructor({ initPid, number, mount }: TmpfsOfContainer, directory: string) {
    this.number = number;
    this.mount = mount;
    this.#initPid = initPid;
    this.#directory = directory;
    this.#tree = new SentTree(directory);
  }

  /** Mounts it here; `mounts` unmounts it. NOT_FOUND if it is gone; COMMAND_FAILED. */
  static async attach(mounts: TransitMounts, tmpfs: TmpfsOfContainer, signal: AbortSignal): Promise<SentTmpfs> {
    return new SentTmpfs(tmpfs, await mounts.attach(tmpfs.initPid, tmpfs.number, tmpfs.mount, signal));
  }

  /** While the container runs. */
  first(signal: AbortSignal): Promise<FirstPass> {
    return this.#tree.first((manifest) => this.#open(manifest, signal), signal);
  }

  /** While it is frozen. */
  rest(signal: AbortSignal): Promise<Rest> {
    return this.#tree.rest((manifest) => this.#open(manifest, signal), signal);
  }

  async #open(manifest: LayerManifest, signal: AbortSignal): Promise<Set<LayerPath>> {
    const place = { directory: this.#directory, device: this.mount.device };
    return filesWith(await openInodes(this.#initPid, place, signal), manifest);
  }
}

function filesWith(inodes: ReadonlySet<bigint>, manifest: LayerManifest): Set<LayerPath> {
  const found = new Set<LayerPath>();
  for (let entry = 0; entry < manifest.tree.size; entry++) {
    if (!manifest.has(entry) || manifest.type(entry) !== "file") continue;
    if (inodes.has(manifest.inode(entry))) found.add(manifest.tree.path(entry));
  }
  return found;
}

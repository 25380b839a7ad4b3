/** Gluster in the lab: volumes that several nodes can have mounted at once, through FUSE. */
import { eventually } from "./eventually.ts";
import { installPackages } from "./node-packages.ts";
import type { TestLab } from "./test-lab.ts";

/** On a file system of the host: bricks keep extended attributes, which overlays keep for themselves in part. */
const BRICKS = "/var/lib/docker/bricks";
/** For the making of bricks, which are directories here. */
const UNUSED_BY_SERVER = /^(e2fsprogs|libext2fs|libss2|logsave|xfsprogs|libinih)/;
/** For geo-replication as well; they take more than half of the time of an installation. */
const UNUSED_BY_CLIENT = /^(e2fsprogs|libext2fs|libss2|logsave|xfsprogs|libinih|libpython3|python3|media-types)/;
/** What the kernel gives a host that has FUSE; a node's /dev has what its container manager knows. */
const FUSE_DEVICE = "[ -e /dev/fuse ] || mknod --mode=0666 /dev/fuse c 10 229";

/** Quicker than to stop and delete volume after volume. */
const END = `
kill $(cat /run/gluster/vols/*/*.pid)
systemctl stop glusterd
rm -rf /var/lib/glusterd/vols/* "$1"
`;

export class Gluster {
  readonly #lab: TestLab;
  readonly #server: string;
  readonly #mounts: { readonly node: string; readonly directory: string }[] = [];

  private constructor(lab: TestLab, server: string) {
    this.#lab = lab;
    this.#server = server;
  }

  /** Installs what is missing, and starts the server. Every node given can mount afterwards. */
  static async start(lab: TestLab, server: string, clients: readonly string[]): Promise<Gluster> {
    await Promise.all([
      installPackages(lab, [server], ["glusterfs-server"], UNUSED_BY_SERVER),
      installPackages(lab, clients, ["glusterfs-client"], UNUSED_BY_CLIENT),
    ]);
    for (const node of [server, ...clients]) await lab.shell(node, FUSE_DEVICE);
    await lab.exec(server, ["systemctl", "start", "glusterd"]);
    return new Gluster(lab, server);
  }

  /** A volume of one brick, started. */
  async createVolume(name: string): Promise<void> {
    const brick = `${BRICKS}/${name}`;
    await this.#lab.shell(this.#server, 'rm -rf "$1"; mkdir -p "$1"', brick);
    await this.#order("create", name, `${this.#server}:${brick}`, "force");
    await this.#order("start", name);
  }

  /** Mounts a volume, in the place of what is mounted there. */
  async mount(node: string, volume: string, directory: string): Promise<void> {
    await this.unmount(node, directory);
    await this.#lab.shell(node, 'mkdir -p "$1"', directory);
    // A brick takes a moment to register its port.
    await eventually(
      async () => {
        await this.#lab.exec(node, ["mount", "-t", "glusterfs", `${this.#server}:/${volume}`, directory]);
        return true;
      },
      { what: `${node} mounts ${volume}`, deadlineMs: 20_000, everyMs: 250 },
    );
    this.#mounts.push({ node, directory });
  }

  async unmount(node: string, directory: string): Promise<void> {
    await this.#lab.shell(node, 'if mountpoint -q "$1"; then umount "$1"; fi', directory);
  }

  /** Leaves the packages. */
  async stop(): Promise<void> {
    for (const { node, directory } of this.#mounts.splice(0)) await this.unmount(node, directory);
    await this.#lab.shell(this.#server, END, BRICKS);
  }

  async #order(...words: string[]): Promise<void> {
    await this.#lab.exec(this.#server, ["gluster", "--mode=script", "volume", ...words]);
  }
}

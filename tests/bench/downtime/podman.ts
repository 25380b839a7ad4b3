/** Podman's export and import of a checkpoint, uncompressed and through memory: the faster of its settings here. */
import { receiving, sendingTo } from "../../harness/node-stream.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { hostPid } from "./freeze-watch.ts";
import { measureMove } from "./lost-connection.ts";
import { installPackages } from "./node-packages.ts";
import { fillAt } from "./plain-runc.ts";
import type { Measurement, Way } from "./way.ts";

const NAME = "bench-podman";
const PORT = 6391;
const IMAGE = "docker.io/library/redis:latest";
const ARCHIVE = "/run/bench-podman.tar";
/** On the node's disk: overlay does not stack on the node's own overlay. */
const STORAGE =
  '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/docker/bench-podman"\nrunroot = "/run/bench-podman"\n';
/** A node of the lab may not set its controllers, and CRIU would try. */
const CRIU_OPTIONS = "manage-cgroups=ignore\n";
const REDIS = `redis-server --port ${PORT} --protected-mode no --save "" --appendonly no`;

const IMPORT = `podman image exists ${IMAGE} || docker save redis:latest | podman load`;

export class Podman implements Way {
  readonly name = "podman";
  readonly #lab: TestLab;
  readonly #nodes: readonly [string, string];

  constructor(lab: TestLab, nodes: readonly [string, string]) {
    this.#lab = lab;
    this.#nodes = nodes;
  }

  async prepare(): Promise<void> {
    await installPackages(this.#lab, this.#nodes, ["podman", "crun", "libcriu2"]);
    for (const node of this.#nodes) {
      await this.#lab.writeFile(node, "/etc/containers/storage.conf", STORAGE);
      await this.#lab.writeFile(node, "/etc/criu/crun.conf", CRIU_OPTIONS);
      await this.#lab.shell(node, IMPORT);
    }
  }

  async measure(megabytes: number): Promise<Measurement> {
    const [source, destination] = this.#nodes;
    try {
      await this.#lab.shell(
        source,
        `podman run --detach --name ${NAME} --pids-limit 0 --network host ${IMAGE} ${REDIS}`,
      );
      await fillAt({ host: this.#lab.nodeAddress(source), port: PORT }, megabytes);
      const process = await this.#lab.shell(source, `podman inspect --format '{{.State.Pid}}' ${NAME}`);
      const checkpoint = `podman container checkpoint --compress none --export ${ARCHIVE} ${NAME}`;
      return await measureMove(this.#lab, {
        source,
        destination,
        send: `${checkpoint}; ${sendingTo(this.#lab.nodeAddress(destination))} <${ARCHIVE}`,
        receive: `${receiving(`cat >${ARCHIVE}`)}\npodman container restore --import ${ARCHIVE}`,
        pid: await hostPid(this.#lab, source, process),
        endpoint: { host: this.#lab.nodeAddress(destination), port: PORT },
      });
    } finally {
      await this.#each(`podman rm --force --time 0 ${NAME}; rm -f ${ARCHIVE}`);
    }
  }

  async cleanUp(): Promise<void> {
    await this.#each("podman system reset --force");
  }

  async #each(script: string): Promise<void> {
    for (const node of this.#nodes) await this.#lab.tryExec(node, ["/bin/sh", "-c", script]);
  }
}

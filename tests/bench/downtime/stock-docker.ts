/**
 * Docker's own checkpoints: experimental, and the only way that Docker has. With the host's network: Docker 28 cannot
 * start from a checkpoint with any other ("bind-mount /proc/0/ns/net").
 */
import { removeContainer } from "../../harness/containers.ts";
import { receiving, sendingTo } from "../../harness/node-stream.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { hostPid } from "./freeze-watch.ts";
import { measureMove } from "./lost-connection.ts";
import { fillAt } from "./plain-runc.ts";
import type { Measurement, Way } from "./way.ts";

const NAME = "bench-docker";
const PORT = 6392;
const CHECKPOINT = "move";
const REDIS = ["redis-server", "--port", `${PORT}`, "--protected-mode", "no", "--save", "", "--appendonly", "no"];
const CONTAINER = [`--name=${NAME}`, "--network=host", "redis:latest", ...REDIS];

const ENABLE = [
  'test "$(docker info --format "{{.ExperimentalBuild}}")" = true && exit 0',
  "file=/etc/docker/daemon.json",
  "test -s $file || echo '{}' >$file",
  "jq '.experimental = true' $file >$file.new",
  "mv $file.new $file",
  "systemctl restart docker",
].join("\n");

export class StockDocker implements Way {
  readonly name = "docker";
  readonly #lab: TestLab;
  readonly #nodes: readonly [string, string];

  constructor(lab: TestLab, nodes: readonly [string, string]) {
    this.#lab = lab;
    this.#nodes = nodes;
  }

  async prepare(): Promise<void> {
    for (const node of this.#nodes) await this.#lab.shell(node, ENABLE);
  }

  async measure(megabytes: number): Promise<Measurement> {
    const [source, destination] = this.#nodes;
    try {
      const from = await this.#lab.docker(source, "run", "--detach", ...CONTAINER);
      const to = await this.#lab.docker(destination, "create", ...CONTAINER);
      await fillAt({ host: this.#lab.nodeAddress(source), port: PORT }, megabytes);
      const process = await this.#lab.docker(source, "inspect", "--format={{.State.Pid}}", NAME);
      const directory = (id: string) => `/var/lib/docker/containers/${id}/checkpoints/${CHECKPOINT}`;
      const create = `docker checkpoint create ${NAME} ${CHECKPOINT}`;
      const start = `docker start --checkpoint ${CHECKPOINT} ${NAME}`;
      await this.#weigh(-15);
      return await measureMove(this.#lab, {
        source,
        destination,
        send: `${create}; tar -C ${directory(from)} -c . | ${sendingTo(this.#lab.nodeAddress(destination))}`,
        receive: `mkdir -p ${directory(to)}; ${receiving(`tar -C ${directory(to)} -x`)}\n${start}`,
        pid: await hostPid(this.#lab, source, process),
        endpoint: { host: this.#lab.nodeAddress(destination), port: PORT },
      });
    } finally {
      await this.#weigh(0);
      await removeContainer(this.#lab, NAME);
      // containerd leaves a copy of the checkpoint behind.
      for (const node of this.#nodes) await this.#lab.tryExec(node, ["/bin/sh", "-c", "rm -rf /tmp/ctrd-checkpoint*"]);
    }
  }

  async cleanUp(): Promise<void> {
    await removeContainer(this.#lab, NAME);
  }

  /** The script's weight (see node-stream.ts) does not reach the daemons, which do the work. */
  async #weigh(weight: number): Promise<void> {
    const script = `for pid in $(pidof dockerd containerd); do echo ${weight} >/proc/$pid/autogroup || :; done`;
    for (const node of this.#nodes) await this.#lab.shell(node, script);
  }
}

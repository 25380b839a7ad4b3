/**
 * Docker's own checkpoints: experimental, and the only way that Docker has. With the host's network: Docker 28 cannot
 * start from a checkpoint with any other ("bind-mount /proc/0/ns/net").
 */
import { removeContainer } from "../../harness/containers.ts";
import { receiving } from "../../harness/node-stream.ts";
import { LostConnectionWay, redisCommand, type StartedRedis } from "./lost-connection-way.ts";

const NAME = "bench-docker";
const PORT = 6392;
const CHECKPOINT = "move";
const CONTAINER = [`--name=${NAME}`, "--network=host", "redis:latest", ...redisCommand(PORT)];

const ENABLE = [
  'test "$(docker info --format "{{.ExperimentalBuild}}")" = true && exit 0',
  "file=/etc/docker/daemon.json",
  "test -s $file || echo '{}' >$file",
  "jq '.experimental = true' $file >$file.new",
  "mv $file.new $file",
  "systemctl restart docker",
].join("\n");

export class StockDocker extends LostConnectionWay {
  override readonly name = "docker";
  protected override readonly port = PORT;

  override async prepare(): Promise<void> {
    for (const node of this.nodes) await this.lab.shell(node, ENABLE);
  }

  protected override async start(): Promise<StartedRedis> {
    const [source, destination] = this.nodes;
    const from = await this.lab.docker(source, "run", "--detach", ...CONTAINER);
    const to = await this.lab.docker(destination, "create", ...CONTAINER);
    const directory = (id: string) => `/var/lib/docker/containers/${id}/checkpoints/${CHECKPOINT}`;
    const create = `docker checkpoint create ${NAME} ${CHECKPOINT}`;
    const start = `docker start --checkpoint ${CHECKPOINT} ${NAME}`;
    await this.#weigh(-15);
    return {
      pid: await this.lab.docker(source, "inspect", "--format={{.State.Pid}}", NAME),
      send: `${create}; tar -C ${directory(from)} -c . | ${this.sending}`,
      receive: `mkdir -p ${directory(to)}; ${receiving(`tar -C ${directory(to)} -x`)}\n${start}`,
    };
  }

  protected override async remove(): Promise<void> {
    await this.#weigh(0);
    await removeContainer(this.lab, NAME);
    // containerd leaves a copy of the checkpoint behind.
    await this.each("rm -rf /tmp/ctrd-checkpoint*");
  }

  override async cleanUp(): Promise<void> {
    await removeContainer(this.lab, NAME);
  }

  /** The script's weight (see node-stream.ts) does not reach the daemons, which do the work. */
  async #weigh(weight: number): Promise<void> {
    const script = `for pid in $(pidof dockerd containerd); do echo ${weight} >/proc/$pid/autogroup || :; done`;
    for (const node of this.nodes) await this.lab.shell(node, script);
  }
}

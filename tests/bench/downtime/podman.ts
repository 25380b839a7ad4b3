/** Podman's export and import of a checkpoint, uncompressed and through memory: the faster of its settings here. */
import { installPackages } from "../../harness/node-packages.ts";
import { receiving } from "../../harness/node-stream.ts";
import { LostConnectionWay, redisCommand, type StartedRedis } from "./lost-connection-way.ts";

const NAME = "bench-podman";
const PORT = 6391;
const IMAGE = "docker.io/library/redis:latest";
const ARCHIVE = "/run/bench-podman.tar";
/** On the node's disk: overlay does not stack on the node's own overlay. */
const STORAGE =
  '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/docker/bench-podman"\nrunroot = "/run/bench-podman"\n';
/** A node of the lab may not set its controllers, and CRIU would try. */
const CRIU_OPTIONS = "manage-cgroups=ignore\n";

const IMPORT = `podman image exists ${IMAGE} || docker save redis:latest | podman load`;

export class Podman extends LostConnectionWay {
  override readonly name = "podman";
  protected override readonly port = PORT;

  override async prepare(): Promise<void> {
    await installPackages(this.lab, this.nodes, ["podman", "crun", "libcriu2"]);
    for (const node of this.nodes) {
      await this.lab.writeFile(node, "/etc/containers/storage.conf", STORAGE);
      await this.lab.writeFile(node, "/etc/criu/crun.conf", CRIU_OPTIONS);
      await this.lab.shell(node, IMPORT);
    }
  }

  protected override async start(): Promise<StartedRedis> {
    const [source] = this.nodes;
    const options = ["--detach", "--name", NAME, "--pids-limit", "0", "--network", "host"];
    await this.lab.exec(source, ["podman", "run", ...options, IMAGE, ...redisCommand(PORT)]);
    return {
      pid: await this.lab.exec(source, ["podman", "inspect", "--format", "{{.State.Pid}}", NAME]),
      send: `podman container checkpoint --compress none --export ${ARCHIVE} ${NAME}; ${this.sending} <${ARCHIVE}`,
      receive: `${receiving(`cat >${ARCHIVE}`)}\npodman container restore --import ${ARCHIVE}`,
    };
  }

  protected override async remove(): Promise<void> {
    await this.each(`podman rm --force --time 0 ${NAME}; rm -f ${ARCHIVE}`);
  }

  override async cleanUp(): Promise<void> {
    await this.each("podman system reset --force");
  }
}

/**
 * What a script can do at best: runc alone, images in memory, one stream over the network, no network namespace and
 * so no address to carry and no connection to keep.
 */
import { receiving } from "../../harness/node-stream.ts";
import { LostConnectionWay, redisCommand, type StartedRedis } from "./lost-connection-way.ts";

const ID = "bench-runc";
const PORT = 6390;
const DIRECTORY = "/run/bench-runc";
const IMAGES = `${DIRECTORY}/images`;

const BUNDLE = [
  `rm -rf ${DIRECTORY}; mkdir -p ${DIRECTORY}/rootfs; cd ${DIRECTORY}`,
  "id=$(docker create redis:latest)",
  "docker export $id | tar -C rootfs -x",
  "docker rm $id >/dev/null",
  "runc spec",
  [
    `jq '.process.terminal = false | .process.cwd = "/data" | .process.args = $args | .root.readonly = false`,
    `| .linux.namespaces |= map(select(.type != "network"))' --argjson args "$1" config.json >config.new`,
  ].join(" "),
  "mv config.new config.json",
].join("\n");

/** A node of the lab may not set its controllers, and CRIU would try. */
const CGROUPS = "--manage-cgroups-mode ignore";
const DETACHED = "</dev/null >/dev/null 2>&1";

export class PlainRunc extends LostConnectionWay {
  override readonly name = "runc";
  protected override readonly port = PORT;

  override async prepare(): Promise<void> {
    for (const node of this.nodes) await this.lab.shell(node, BUNDLE, JSON.stringify(redisCommand(PORT)));
  }

  protected override async start(): Promise<StartedRedis> {
    const [source] = this.nodes;
    await this.lab.shell(source, `runc run --detach --bundle ${DIRECTORY} ${ID} ${DETACHED}`);
    const checkpoint = `mkdir ${IMAGES}; runc checkpoint ${CGROUPS} --image-path ${IMAGES} ${ID}`;
    const restore = `runc restore ${CGROUPS} --detach --image-path ${IMAGES} --bundle ${DIRECTORY} ${ID} ${DETACHED}`;
    return {
      pid: await this.lab.shell(source, `runc state ${ID} | jq .pid`),
      send: `${checkpoint}; tar -C ${IMAGES} -c . | ${this.sending}`,
      receive: `mkdir ${IMAGES}; ${receiving(`tar -C ${IMAGES} -x`)}\n${restore} || { grep Error ${IMAGES}/restore.log >&2; exit 1; }`,
    };
  }

  protected override async remove(): Promise<void> {
    await this.each(`runc delete --force ${ID}; rm -rf ${IMAGES}`);
  }

  override async cleanUp(): Promise<void> {
    await this.each(`rm -rf ${DIRECTORY}`);
  }
}

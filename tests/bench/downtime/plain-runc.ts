/**
 * What a script can do at best: runc alone, images in memory, one stream over the network, no network namespace and
 * so no address to carry and no connection to keep.
 */
import { fillRedis } from "../../../deploy/held-client/redis.ts";
import { LineConnection } from "../../../deploy/held-client/line-connection.ts";
import { eventually } from "../../harness/eventually.ts";
import { receiving, sendingTo } from "../../harness/node-stream.ts";
import type { TestLab } from "../../harness/test-lab.ts";
import { hostPid } from "./freeze-watch.ts";
import { measureMove } from "./lost-connection.ts";
import type { Measurement, Way } from "./way.ts";

const ID = "bench-runc";
const PORT = 6390;
const DIRECTORY = "/run/bench-runc";
const IMAGES = `${DIRECTORY}/images`;
const REDIS = ["redis-server", "--port", `${PORT}`, "--protected-mode", "no", "--save", "", "--appendonly", "no"];

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

export class PlainRunc implements Way {
  readonly name = "runc";
  readonly #lab: TestLab;
  readonly #nodes: readonly [string, string];

  constructor(lab: TestLab, nodes: readonly [string, string]) {
    this.#lab = lab;
    this.#nodes = nodes;
  }

  async prepare(): Promise<void> {
    for (const node of this.#nodes) await this.#lab.shell(node, BUNDLE, JSON.stringify(REDIS));
  }

  async measure(megabytes: number): Promise<Measurement> {
    const [source, destination] = this.#nodes;
    try {
      await this.#lab.shell(source, `runc run --detach --bundle ${DIRECTORY} ${ID} ${DETACHED}`);
      await fillAt({ host: this.#lab.nodeAddress(source), port: PORT }, megabytes);
      const process = await this.#lab.shell(source, `runc state ${ID} | jq .pid`);
      const checkpoint = `mkdir ${IMAGES}; runc checkpoint ${CGROUPS} --image-path ${IMAGES} ${ID}`;
      const restore = `runc restore ${CGROUPS} --detach --image-path ${IMAGES} --bundle ${DIRECTORY} ${ID} ${DETACHED}`;
      return await measureMove(this.#lab, {
        source,
        destination,
        send: `${checkpoint}; tar -C ${IMAGES} -c . | ${sendingTo(this.#lab.nodeAddress(destination))}`,
        receive: `mkdir ${IMAGES}; ${receiving(`tar -C ${IMAGES} -x`)}\n${restore} || { grep Error ${IMAGES}/restore.log >&2; exit 1; }`,
        pid: await hostPid(this.#lab, source, process),
        endpoint: { host: this.#lab.nodeAddress(destination), port: PORT },
      });
    } finally {
      await this.#each(`runc delete --force ${ID}; rm -rf ${IMAGES}`);
    }
  }

  async cleanUp(): Promise<void> {
    await this.#each(`rm -rf ${DIRECTORY}`);
  }

  async #each(script: string): Promise<void> {
    for (const node of this.#nodes) await this.#lab.tryExec(node, ["/bin/sh", "-c", script]);
  }
}

/** Waits until the Redis listens, then fills it. */
export async function fillAt(endpoint: { host: string; port: number }, megabytes: number): Promise<void> {
  const client = await eventually(() => LineConnection.open(endpoint), {
    what: `Redis at ${endpoint.host}:${endpoint.port} listens`,
    deadlineMs: 30_000,
  });
  try {
    await fillRedis(client, megabytes);
  } finally {
    client.close();
  }
}

/** Starting containers in the lab, marked so that every process of theirs can be found by the kernel. */
import { randomUUID } from "node:crypto";
import { eventually } from "./eventually.ts";
import { LineConnection } from "./line-connection.ts";
import { fillRedis } from "../../deploy/held-client/redis.ts";
import type { TestLab } from "./test-lab.ts";

export const NETWORK = "dray";

export interface StartOptions {
  readonly node: string;
  readonly name: string;
  readonly image: string;
  /** Address in the macvlan network; none for no such network (then give `--network` yourself). */
  readonly address?: string;
  readonly macAddress?: string;
  /** More arguments of `docker run`. */
  readonly options?: readonly string[];
  readonly command?: readonly string[];
  /** OCI runtime; Docker's default if not given. */
  readonly runtime?: string;
}

export interface StartedContainer {
  readonly name: string;
  /** Its host name, by which the kernel knows its processes, wherever they run. */
  readonly mark: string;
  readonly dockerId: string;
  readonly address: string;
}

export async function startContainer(lab: TestLab, options: StartOptions): Promise<StartedContainer> {
  const mark = randomUUID();
  const network = options.address === undefined ? [] : [`--network=${NETWORK}`, `--ip=${options.address}`];
  const mac = options.macAddress === undefined ? [] : [`--mac-address=${options.macAddress}`];
  const runtime = options.runtime === undefined ? [] : [`--runtime=${options.runtime}`];
  const dockerId = await lab.docker(
    options.node,
    ...["run", "--detach", `--name=${options.name}`, `--hostname=${mark}`],
    ...[...network, ...mac, ...runtime, ...(options.options ?? [])],
    ...[options.image, ...(options.command ?? [])],
  );
  return { name: options.name, mark, dockerId, address: options.address ?? "" };
}

/** A Redis that answers, with about `megabytes` of data, half of it incompressible. */
export async function startRedis(
  lab: TestLab,
  options: Omit<StartOptions, "image"> & { readonly megabytes?: number; readonly address: string },
): Promise<StartedContainer> {
  const started = await startContainer(lab, { image: "redis:latest", ...options });
  const client = await firstConnection(lab, options.node, started, 6379);
  try {
    if (options.megabytes !== undefined) await fillRedis(client, options.megabytes);
  } finally {
    client.close();
  }
  return started;
}

/** The first connection that a port of a new container accepts; if none does in time, an error with what it said. */
export async function firstConnection(
  lab: TestLab,
  node: string,
  { name, address }: StartedContainer,
  port: number,
): Promise<LineConnection> {
  const what = `${name} listens at ${address}:${port}`;
  try {
    return await eventually(() => LineConnection.open({ host: address, port }), { what, deadlineMs: 60_000 });
  } catch (error) {
    const tell = ["/bin/sh", "-c", 'docker inspect --format="{{json .State}}" "$1"; docker logs --tail=40 "$1"', "sh"];
    const told = await lab.tryExec(node, [...tell, name]).catch(() => undefined);
    throw new Error(`${what}: it does not; Docker says: ${told?.stdout} ${told?.stderr}`, { cause: error });
  }
}

/** The cluster learns of a new container by an event: returns when it has. */
export async function knownToCluster(lab: TestLab, name: string): Promise<void> {
  await eventually(async () => ((await lab.dray(["container", "inspect", name])).exitCode === 0 ? true : undefined), {
    what: `the cluster knows ${name}`,
    deadlineMs: 30_000,
  });
}

/** Removes a container from every node, whatever became of it. */
export async function removeContainer(lab: TestLab, name: string): Promise<void> {
  for (const node of lab.nodes)
    await lab.tryExec(node, ["docker", "rm", "--force", "--volumes", name]).catch(() => undefined);
}

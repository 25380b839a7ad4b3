/** Exactly one running copy: by the kernel, by Docker and by etcd, on all nodes. */
import type { StartedContainer } from "./containers.ts";
import { eventually } from "./eventually.ts";
import type { TestLab } from "./test-lab.ts";

export interface Task {
  readonly pid: number;
  readonly cgroup: string;
  readonly frozen: boolean;
}

/**
 * Every process in a node that lives under the mark as host name, in whatever cgroup it is. (The environment would be
 * simpler, but servers write their titles over it.)
 */
export async function markedTasks(lab: TestLab, node: string, mark: string): Promise<Task[]> {
  const script = `
    own=$(readlink /proc/self/ns/uts)
    mine=
    for directory in /proc/[0-9]*; do
      space=$(readlink "$directory/ns/uts" 2>/dev/null) || continue
      [ "$space" != "$own" ] || continue
      case "$mine" in
        *"<$space>yes"*) ;;
        *"<$space>no"*) continue ;;
        *)
          name=$(nsenter --uts="$directory/ns/uts" uname -n 2>/dev/null) || continue
          [ "$name" = "$1" ] && answer=yes || answer=no
          mine="$mine<$space>$answer"
          [ $answer = yes ] || continue ;;
      esac
      group=$(sed -n 's/^0:://p' "$directory/cgroup" 2>/dev/null) || continue
      # A process that has ended meanwhile, or waits for its parent, has no executable.
      readlink "$directory/exe" >/dev/null 2>&1 || continue
      frozen=0; at=$group
      while [ -n "$at" ] && [ "$at" != / ]; do
        if grep -qx 'frozen 1' "/sys/fs/cgroup$at/cgroup.events" 2>/dev/null; then frozen=1; fi
        at=\${at%/*}
      done
      echo "\${directory#/proc/} $frozen $group"
    done`;
  const output = await lab.shell(node, script, mark);
  return output
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [pid, frozen, ...cgroup] = line.split(" ");
      return { pid: Number(pid), frozen: frozen === "1", cgroup: cgroup.join(" ") };
    });
}

export interface DockerCopy {
  readonly id: string;
  readonly running: boolean;
  readonly paused: boolean;
  readonly restartPolicy: string;
}

/** What Docker in a node knows under that name; undefined if nothing. */
export async function dockerCopy(lab: TestLab, node: string, name: string): Promise<DockerCopy | undefined> {
  const { exitCode, stdout, stderr } = await lab.tryExec(node, ["docker", "container", "inspect", name]);
  if (exitCode !== 0) {
    if (/no such container/i.test(stderr)) return undefined;
    throw new Error(`${node}: docker inspect ${name}: ${stderr.trim()}`);
  }
  const [inspected] = JSON.parse(stdout) as [
    { Id: string; State: { Running: boolean; Paused: boolean }; HostConfig: { RestartPolicy: { Name: string } } },
  ];
  const { Id: id, State: state, HostConfig: host } = inspected;
  return { id, running: state.Running, paused: state.Paused, restartPolicy: host.RestartPolicy.Name };
}

export interface OwnerDocument {
  readonly node: string;
  readonly epoch: number;
  readonly state: string;
}

/** The owner as etcd has it; undefined if the container was never in a switch. */
export async function ownerOf(lab: TestLab, uuid: string): Promise<OwnerDocument | undefined> {
  const text = await lab.etcdGet(`/drayage/v1/owners/${uuid}`);
  return text === undefined ? undefined : (JSON.parse(text) as OwnerDocument);
}

export interface ContainerDocument {
  readonly name: string;
  readonly uuid: string;
  readonly node: string;
  readonly state: string;
  readonly migration_id: string;
}

export async function containerDocument(lab: TestLab, name: string): Promise<ContainerDocument> {
  const { exitCode, document, stderr } = await lab.dray<ContainerDocument>(["container", "inspect", name]);
  if (exitCode !== 0) throw new Error(`dray container inspect ${name} ended with ${exitCode}: ${stderr.trim()}`);
  return document;
}

export interface OneCopyOptions {
  /** Nodes that are off and cannot be asked. */
  readonly offNodes?: readonly string[];
  /** The inventory follows events; how long it may take. Default 15000. */
  readonly settleMs?: number;
}

/** Throws unless the container runs on `node`, thawed, and nothing of it is anywhere else. */
export async function assertOneCopy(
  lab: TestLab,
  container: Pick<StartedContainer, "name" | "mark">,
  node: string,
  options: OneCopyOptions = {},
): Promise<void> {
  const wrong: string[] = [];
  for (const each of lab.nodes.filter((name) => !options.offNodes?.includes(name))) {
    const [tasks, copy] = await Promise.all([
      markedTasks(lab, each, container.mark),
      dockerCopy(lab, each, container.name),
    ]);
    if (each !== node) {
      if (tasks.length > 0) wrong.push(`${each} has processes of it: ${JSON.stringify(tasks)}`);
      if (copy !== undefined) wrong.push(`Docker on ${each} still has it: ${JSON.stringify(copy)}`);
      continue;
    }
    if (tasks.length === 0) wrong.push(`${each} has no process of it`);
    if (tasks.some(({ frozen }) => frozen)) wrong.push(`${each} has it frozen: ${JSON.stringify(tasks)}`);
    if (copy?.running !== true || copy.paused) wrong.push(`Docker on ${each} does not run it: ${JSON.stringify(copy)}`);
    const strangers = tasks.filter(({ cgroup }) => copy !== undefined && !cgroup.includes(copy.id));
    if (strangers.length > 0) wrong.push(`tasks outside the container's cgroup: ${JSON.stringify(strangers)}`);
  }
  if (wrong.length > 0)
    throw new Error(`not exactly one copy of ${container.name} on ${node}:\n  ${wrong.join("\n  ")}`);
  const { uuid } = await eventually(
    async () => {
      const found = await containerDocument(lab, container.name);
      return found.node === node && found.state === "running" && found.migration_id === "" ? found : undefined;
    },
    { what: `dray knows ${container.name} to run on ${node}`, deadlineMs: options.settleMs ?? 15_000, everyMs: 250 },
  );
  const owner = await ownerOf(lab, uuid);
  if (owner !== undefined && (owner.node !== node || owner.state !== "running")) {
    throw new Error(`etcd says of ${container.name}: ${JSON.stringify(owner)}, not running on ${node}`);
  }
}

/** How many copies run at this moment, by the kernel alone; for watching while things go wrong. */
export async function runningCopies(
  lab: TestLab,
  mark: string,
  nodes: readonly string[] = lab.nodes,
): Promise<string[]> {
  const found = await Promise.all(
    nodes.map(async (node) => ((await markedTasks(lab, node, mark)).some(({ frozen }) => !frozen) ? [node] : [])),
  );
  return found.flat();
}

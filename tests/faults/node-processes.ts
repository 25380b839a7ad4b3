/** Processes of a node, seen and ended from the host: nothing in the node has to help. */
import { readdir, readFile } from "node:fs/promises";
import type { TestLab } from "../harness/test-lab.ts";

export interface FoundProcess {
  readonly pid: number;
  readonly arguments: readonly string[];
}

const LOOK_EVERY_MS = 2;

/** Waits until a process that `accept` takes by its arguments has appeared in the node. */
export async function appearance(
  lab: TestLab,
  node: string,
  accept: (words: readonly string[]) => boolean,
  deadlineMs: number,
): Promise<FoundProcess> {
  const tree = await treeOf(lab, node);
  const endsAt = performance.now() + deadlineMs;
  while (performance.now() < endsAt) {
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const words = await argumentsOf(name);
      if (words === undefined || !accept(words)) continue;
      if ((await cgroupOf(name))?.startsWith(tree)) return { pid: Number(name), arguments: words };
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  throw new Error(`no such process has appeared on ${node} within ${deadlineMs} ms`);
}

/** kill -9, as soon as it appears. */
export async function killOnAppearance(
  lab: TestLab,
  node: string,
  accept: (words: readonly string[]) => boolean,
  deadlineMs: number,
): Promise<void> {
  const { pid } = await appearance(lab, node, accept, deadlineMs);
  process.kill(pid, "SIGKILL");
}

/** Where in the unified hierarchy everything of the node is. */
async function treeOf(lab: TestLab, node: string): Promise<string> {
  const target = (await lab.command(node, ["true"]))
    .find((word) => word.startsWith("--target="))
    ?.slice("--target=".length);
  const path = target === undefined ? undefined : await cgroupOf(target);
  if (path === undefined) throw new Error(`${node} has no init`);
  return `${path.slice(0, path.indexOf("/payload"))}/`;
}

async function argumentsOf(pid: string): Promise<string[] | undefined> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").filter((word) => word !== "");
  } catch {
    return undefined;
  }
}

async function cgroupOf(pid: string): Promise<string | undefined> {
  try {
    const line = (await readFile(`/proc/${pid}/cgroup`, "utf8")).split("\n").find((each) => each.startsWith("0::"));
    return line?.slice(3);
  } catch {
    return undefined;
  }
}

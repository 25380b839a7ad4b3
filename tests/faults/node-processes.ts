/** Processes of a node, seen and ended from the host: nothing in the node has to help. */
import { readdirSync, readFileSync } from "node:fs";
import type { TestLab } from "../harness/test-lab.ts";

export interface FoundProcess {
  readonly pid: number;
  readonly arguments: readonly string[];
}

const LOOK_EVERY_MS = 2;

/** Of the words that a process was started with. */
export const isAgent = (words: readonly string[]) => words.some((word) => word.endsWith("/agent.mjs"));

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
    // Synchronous: on a busy machine a round of a thousand awaited reads takes longer than a dump.
    for (const name of readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const words = argumentsOf(name);
      if (words === undefined || !accept(words)) continue;
      if (cgroupOf(name)?.startsWith(tree)) return { pid: Number(name), arguments: words };
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
  const path = target === undefined ? undefined : cgroupOf(target);
  if (path === undefined) throw new Error(`${node} has no init`);
  return `${path.slice(0, path.indexOf("/payload"))}/`;
}

function argumentsOf(pid: string): string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8")
      .split("\0")
      .filter((word) => word !== "");
  } catch {
    return undefined;
  }
}

function cgroupOf(pid: string): string | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/cgroup`, "utf8")
      .split("\n")
      .find((each) => each.startsWith("0::"));
    return line?.slice(3);
  } catch {
    return undefined;
  }
}

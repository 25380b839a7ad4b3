/** What a lab remembers between commands: `lab.json`. What runs is always asked of the kernel. */
import { open, readFile, rename } from "node:fs/promises";
import { hasCode, LabError } from "../errors.ts";
import type { NodeKind } from "../node/driver.ts";
import type { Suite } from "../rootfs/recipe.ts";
import type { LabLayout } from "./layout.ts";

export interface NodeRecord {
  readonly name: string;
  readonly imageStore: "graphdriver" | "containerd";
  readonly partitioned: boolean;
  /** In each direction; null: as fast as it goes. */
  readonly rateBitsPerSecond: number | null;
}

const VERSION = 1;

export interface LabState {
  readonly version: typeof VERSION;
  /** `starting`: `up` has not finished; whoever finds this without an `up` at work cleans up first. */
  readonly phase: "starting" | "up";
  readonly kind: NodeKind;
  readonly suite: Suite;
  /** What the nodes are made from; empty until it is built. A later version may make new labs from something else. */
  readonly base: string;
  /** The same for the node that controls the others. */
  readonly controlBase?: string;
  readonly subnet: string;
  /** Whether the product and its cluster are installed, or the nodes are bare. */
  readonly cluster: boolean;
  readonly nodes: readonly NodeRecord[];
}

export async function readState(layout: LabLayout): Promise<LabState | undefined> {
  let text: string;
  try {
    text = await readFile(layout.stateFile, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
  const state = parse(text);
  if (isLabState(state)) return state;
  throw new LabError("failed", `${layout.stateFile} is not a lab's state of version ${VERSION}`, {
    remedy: `remove the lab with: lab down --name ${layout.name}`,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Whether this program wrote it. The file is the lab's own, written whole and
 * by rename: the version says which fields are there.
 */
function isLabState(value: unknown): value is LabState {
  return typeof value === "object" && value !== null && "version" in value && value.version === VERSION;
}

export async function writeState(layout: LabLayout, state: LabState): Promise<void> {
  const fresh = `${layout.stateFile}.new`;
  const file = await open(fresh, "w");
  try {
    await file.writeFile(`${JSON.stringify(state, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, layout.stateFile);
}

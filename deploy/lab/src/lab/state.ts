/** What a lab remembers between commands: `lab.json`. What runs is always asked of the kernel. */
import { open, readFile, rename } from "node:fs/promises";
import { z } from "zod";
import { hasCode, LabError } from "../errors.ts";
import { NODE_KINDS } from "../node/driver.ts";
import { SUITES } from "../rootfs/recipe.ts";
import type { LabLayout } from "./layout.ts";

const NodeRecord = z.object({
  name: z.string(),
  imageStore: z.enum(["graphdriver", "containerd"]),
  partitioned: z.boolean(),
  /** Bits per second in each direction; null: as fast as it goes. */
  rateBitsPerSecond: z.number().nullable(),
});

const LabState = z.object({
  version: z.literal(1),
  /** `starting`: `up` has not finished; whoever finds this without an `up` at work cleans up first. */
  phase: z.enum(["starting", "up"]),
  kind: z.enum(NODE_KINDS),
  suite: z.enum(SUITES),
  subnet: z.string(),
  /** Whether the product and its cluster are installed, or the nodes are bare. */
  cluster: z.boolean(),
  nodes: z.array(NodeRecord),
});

export type LabState = z.infer<typeof LabState>;
export type NodeRecord = z.infer<typeof NodeRecord>;

export async function readState(layout: LabLayout): Promise<LabState | undefined> {
  let text: string;
  try {
    text = await readFile(layout.stateFile, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
  const parsed = LabState.safeParse(safeJson(text));
  if (parsed.success) return parsed.data;
  throw new LabError("failed", `${layout.stateFile} is not a lab's state: ${z.prettifyError(parsed.error)}`, {
    remedy: `remove the lab with: lab down --name ${layout.name}`,
  });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export async function writeState(layout: LabLayout, state: LabState): Promise<void> {
  const fresh = `${layout.stateFile}.new`;
  const file = await open(fresh, "w");
  try {
    await file.writeFile(`${JSON.stringify(LabState.parse(state), null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, layout.stateFile);
}

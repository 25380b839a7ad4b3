/** What a restore reads from the final images alone must be there whole, whatever rounds have had at the same addresses. */
import { readFile } from "node:fs/promises";
import { unlessGone } from "../host/unless-gone.ts";
import { PAGE_BYTES } from "../memory-image/page-range.ts";
import { type ContainerTask, containerTasks } from "./container-memory.ts";
import type { DigestTable } from "./digest-table.ts";
import { mappingsFromTheFinalDump } from "./mappings.ts";

/** Lets no page of such a mapping count as sent before. The container stands frozen. */
export async function forgetFinalDumpOnly(digests: DigestTable, cgroup: string, initPid: number): Promise<void> {
  const forgetOf = async ({ pid, innerPid }: ContainerTask) => {
    const maps = (await unlessGone(readFile(`/proc/${pid}/maps`, "utf8"))) ?? "";
    for (const { start, end } of mappingsFromTheFinalDump(maps))
      digests.forget({ kind: "task", id: innerPid }, start, (end - start) / PAGE_BYTES);
  };
  await Promise.all((await containerTasks(cgroup, initPid)).map(forgetOf));
}

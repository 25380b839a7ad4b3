/** When a node has booted, for every kind. */
import { LabError } from "../errors.ts";
import { run, runRaw } from "../host/run.ts";
import type { NodeDriver } from "./driver.ts";

const BOOT_DEADLINE_MS = 120_000;
/** Where commands from outside find programs. */
export const NODE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Waits for the node's own services and for its Docker. */
export async function awaitServices(
  driver: Pick<NodeDriver, "command" | "patience">,
  node: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = { signal, deadlineMs: BOOT_DEADLINE_MS * driver.patience };
  // Both are queued by the boot already: this waits for the end of their jobs, whatever etcd or an agent still wait for.
  const start = await driver.command(node, ["systemctl", "start", "lab-network.service", "docker.service"]);
  const { exitCode, stderr } = await runRaw(start, options);
  if (exitCode !== 0) {
    const failed = await run(await driver.command(node, ["systemctl", "--failed", "--plain", "--no-legend"]), options);
    throw new LabError("failed", `${node} does not boot: ${stderr.trim()}\n  ${failed.trim()}`);
  }
  await run(await driver.command(node, ["docker", "info", "--format", "{{.ServerVersion}}"]), options);
}

/** Power, ports and links of single nodes. */
import { LabError } from "../errors.ts";
import { run, runRaw } from "../host/run.ts";
import { ensureBridge, interfaceExists, setPortForwarding } from "../network/bridge.ts";
import { shapeArgv } from "../network/shaping.ts";
import type { Progress } from "../progress.ts";
import { ensureDockerNetwork } from "./docker-network.ts";
import { findNode, type Lab, type LabNode, updateNode } from "./lab.ts";

/** The interface on the lab's network, inside every node. */
export const NODE_INTERFACE = "host0";

/** Boots a node that is off and brings its link to the recorded condition; returns when its Docker answers. */
export async function bootNode(lab: Lab, node: LabNode, progress: Progress, signal?: AbortSignal): Promise<void> {
  const { spec, record } = node;
  await ensureBridge(lab.plan, signal);
  const state = await lab.driver.state(record.name);
  if (state === "booting") await lab.driver.powerCut(spec);
  if (state !== "running") {
    progress.step("booting");
    await lab.driver.start(spec, signal);
  }
  if (record.partitioned) await setPortForwarding(spec.plan.port, false, signal);
  if (record.rateBitsPerSecond !== null) await shapeLink(lab, node, record.rateBitsPerSecond, signal);
  await lab.driver.awaitReady(spec, signal);
  await ensureDockerNetwork(lab, node, signal);
  if (state !== "running") progress.step("systemd and Docker are up");
}

export async function killNode(lab: Lab, name: string): Promise<void> {
  await lab.driver.powerCut(findNode(lab, name).spec);
}

export async function setPartitioned(lab: Lab, name: string, partitioned: boolean): Promise<void> {
  const { spec } = findNode(lab, name);
  await updateNode(lab, name, { partitioned });
  // The port of a node that is off does not exist; it gets its state at boot.
  if (await interfaceExists(spec.plan.port)) await setPortForwarding(spec.plan.port, !partitioned);
}

export async function setLinkRate(lab: Lab, name: string, bitsPerSecond: number | undefined): Promise<void> {
  const node = findNode(lab, name);
  await updateNode(lab, name, { rateBitsPerSecond: bitsPerSecond ?? null });
  if ((await lab.driver.state(name)) === "running") await shapeLink(lab, node, bitsPerSecond);
}

/** Towards the node on the host's end of its link, away from it on the node's end. */
async function shapeLink(
  lab: Lab,
  { spec }: LabNode,
  bitsPerSecond: number | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const towards = shapeArgv(spec.plan.port, bitsPerSecond);
  const away = await lab.driver.command(spec.plan.name, shapeArgv(NODE_INTERFACE, bitsPerSecond));
  for (const argv of [towards, away]) {
    if (bitsPerSecond !== undefined) {
      await run(argv, { signal });
      continue;
    }
    const { exitCode, stderr } = await runRaw(argv, { signal });
    // Taking away what is not there is no failure.
    if (exitCode !== 0 && !/No such file|handle of zero|Invalid/i.test(stderr)) {
      throw new LabError("failed", `cannot unshape the link of ${spec.plan.name}: ${stderr.trim()}`);
    }
  }
}

/** Admits a node to the cluster with a one-time token, as an operator would. */
import type { NodePlan } from "../address/plan.ts";
import { EXIT, LabError } from "../errors.ts";
import { runRaw } from "../host/run.ts";
import { waitFor } from "../host/wait.ts";
import type { Lab } from "../lab/lab.ts";
import { runInNode } from "../lab/node-files.ts";
import { coordinatorAddresses, firstNode } from "./members.ts";

const JOIN_DEADLINE_MS = 60_000;

/** Does nothing when the node has its certificate already. */
export async function admitNode(lab: Lab, node: NodePlan, signal?: AbortSignal): Promise<void> {
  const present = await runInNode(lab, node.name, ["/bin/sh", "-c", "ls /etc/drayage/pki/agent.crt 2>/dev/null || :"], {
    signal,
  });
  if (present.trim() !== "") return;
  const [coordinator = ""] = coordinatorAddresses(lab.plan);
  const token = await requestToken(lab, node, signal);
  const join = ["drayage", "join", "--coordinator", coordinator, "--token", "-", "--node", node.name];
  await runInNode(lab, node.name, join, { signal, deadlineMs: JOIN_DEADLINE_MS * lab.driver.patience, stdin: token });
}

/** Asks again as long as no leader is elected: the coordinators have only just been started. */
async function requestToken(lab: Lab, node: NodePlan, signal: AbortSignal | undefined): Promise<string> {
  const argv = await lab.driver.command(firstNode(lab.plan).name, ["drayage", "pki", "token", "--node", node.name]);
  return waitFor(
    async () => {
      const { exitCode, stdout, stderr } = await runRaw(argv, {
        signal,
        deadlineMs: JOIN_DEADLINE_MS * lab.driver.patience,
      });
      if (exitCode === 0) return stdout.trim();
      if (exitCode === EXIT.unavailable) return undefined;
      throw new LabError("failed", `no join token for ${node.name}: ${stderr.trim()}`);
    },
    { what: `a join token for ${node.name}`, deadlineMs: JOIN_DEADLINE_MS * lab.driver.patience, everyMs: 250, signal },
  );
}

/** Admits a node to the cluster with a one-time token, as an operator would. */
import type { NodePlan } from "../address/plan.ts";
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
  const options = { signal, deadlineMs: JOIN_DEADLINE_MS };
  const token = await runInNode(lab, firstNode(lab.plan).name, ["drayage", "pki", "token", "--node", node.name], options);
  const join = ["drayage", "join", "--coordinator", coordinator, "--token", "-", "--node", node.name];
  await runInNode(lab, node.name, join, { ...options, stdin: token.trim() });
}

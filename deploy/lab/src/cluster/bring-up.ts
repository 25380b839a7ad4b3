/** From bare nodes to a running cluster. Every step keeps what is there already, so that it can be repeated. */
import { allNodes, type NodePlan } from "../address/plan.ts";
import { LabError } from "../errors.ts";
import { runRaw } from "../host/run.ts";
import { together } from "../host/together.ts";
import { waitFor } from "../host/wait.ts";
import type { Lab } from "../lab/lab.ts";
import { runInNode, writeInNode } from "../lab/node-files.ts";
import type { Progress } from "../progress.ts";
import { readyNodes, setUpClient } from "./client.ts";
import { agentConfig, CONFIG_DIRECTORY, clientConfig, coordinatorConfig } from "./drayage-config.ts";
import {
  ETCD_DROP_IN,
  ETCD_DROP_IN_FILE,
  ETCD_ENVIRONMENT_FILE,
  ETCD_PKI_DIRECTORY,
  etcdEnvironment,
} from "./etcd-config.ts";
import { admitNode } from "./join.ts";
import { ETCD_CLIENT_PORT, firstNode, memberNodes } from "./members.ts";
import { installPackage, type ProductPackage } from "./package.ts";
import { deliverMemberCertificates, deliverOperatorToFirstNode, issueCertificates } from "./pki.ts";

const QUORUM_DEADLINE_MS = 60_000;
const UNIT_DEADLINE_MS = 90_000;

/** The cluster's name in its certificates. */
export function clusterName(lab: Pick<Lab, "layout">): string {
  return lab.layout.name;
}

export async function bringUpCluster(
  lab: Lab,
  product: ProductPackage,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const members = memberNodes(lab.plan);
  await together(
    signal,
    allNodes(lab.plan).map((node) => (stop) => installPackage(lab, node.name, product, progress, stop)),
  );
  await issueCertificates(lab, clusterName(lab), signal);
  progress.step("CA and certificates are made");
  await together(
    signal,
    members.map((node) => (stop) => startEtcd(lab, node, stop)),
  );
  await awaitQuorum(lab, signal);
  progress.step(`etcd has a quorum (${members.length === 1 ? "one member" : `${members.length} members`})`);
  await together(
    signal,
    members.map((node) => (stop) => startCoordinator(lab, node, stop)),
  );
  progress.step(`coordinators run on ${members.map(({ name }) => name).join(", ")}`);
  await deliverOperatorToFirstNode(lab, signal);
  await writeInNode(lab, firstNode(lab.plan).name, `${CONFIG_DIRECTORY}/client.yaml`, clientConfig(lab.plan), {
    signal,
  });
  await setUpClient(lab, product, signal);
  await together(
    signal,
    lab.plan.nodes.map((node) => (stop) => startAgent(lab, node, stop)),
  );
  await awaitNodes(lab, signal);
  progress.step("agents run on all nodes, and dray on this host sees them");
}

async function startEtcd(lab: Lab, node: NodePlan, signal: AbortSignal): Promise<void> {
  await deliverMemberCertificates(lab, node, signal);
  const environment = etcdEnvironment(lab.plan, node, clusterName(lab));
  await writeInNode(lab, node.name, ETCD_ENVIRONMENT_FILE, environment, { signal });
  await writeInNode(lab, node.name, ETCD_DROP_IN_FILE, ETCD_DROP_IN, { signal });
  await startUnit(lab, node, "etcd.service", signal);
}

/** A linearizable read answers only when a majority of the members agrees. */
async function awaitQuorum(lab: Lab, signal: AbortSignal): Promise<void> {
  const node = firstNode(lab.plan);
  const argv = await lab.driver.command(node.name, etcdctl(["--command-timeout=2s", "get", "quorum"]));
  await waitFor(async () => ((await runRaw(argv, { signal })).exitCode === 0 ? true : undefined), {
    what: "etcd reaches a quorum",
    deadlineMs: QUORUM_DEADLINE_MS * lab.driver.patience,
    everyMs: 100,
    signal,
  });
}

/** etcdctl with a member's own certificate, which is a client's certificate too. */
export function etcdctl(args: readonly string[]): string[] {
  const files = (name: string) => `${ETCD_PKI_DIRECTORY}/${name}`;
  return [
    "etcdctl",
    `--endpoints=https://127.0.0.1:${ETCD_CLIENT_PORT}`,
    ...[`--cacert=${files("ca.crt")}`, `--cert=${files("etcd.crt")}`, `--key=${files("etcd.key")}`],
    ...args,
  ];
}

async function startCoordinator(lab: Lab, node: NodePlan, signal: AbortSignal): Promise<void> {
  const config = coordinatorConfig(lab.plan, node, clusterName(lab), lab.driver.patience);
  await writeInNode(lab, node.name, `${CONFIG_DIRECTORY}/coordinator.yaml`, config, { signal });
  await startUnit(lab, node, "drayage-coordinator.service", signal);
}

async function startAgent(lab: Lab, node: NodePlan, signal: AbortSignal): Promise<void> {
  await admitNode(lab, node, signal);
  const config = agentConfig(lab.plan, node, clusterName(lab), lab.driver.patience);
  await writeInNode(lab, node.name, `${CONFIG_DIRECTORY}/agent.yaml`, config, { signal });
  await startUnit(lab, node, "drayage-agent.service", signal);
}

/** Asks the coordinators as a user of the host would, until they call every node ready. */
async function awaitNodes(lab: Lab, signal: AbortSignal): Promise<void> {
  const names = lab.plan.nodes.map(({ name }) => name);
  let said = "";
  await waitFor(
    async () => {
      const ready = await readyNodes(lab, signal);
      said = `ready: ${[...ready].join(", ") || "none"}`;
      return names.every((name) => ready.has(name)) ? true : undefined;
    },
    { what: "all nodes are ready", deadlineMs: UNIT_DEADLINE_MS * lab.driver.patience, everyMs: 250, signal },
  ).catch((error: unknown) => {
    if (!(error instanceof LabError)) throw error;
    throw new LabError("timeout", `${error.message} (${said})`, {
      remedy: "look at what `dray node ls` says of them",
      cause: error,
    });
  });
}

/** Enables and starts a unit, and says with its journal why it does not start. */
async function startUnit(lab: Lab, { name }: NodePlan, unit: string, signal: AbortSignal): Promise<void> {
  await runInNode(lab, name, ["systemctl", "daemon-reload"], { signal });
  const start = await lab.driver.command(name, ["systemctl", "enable", "--now", "--quiet", unit]);
  const { exitCode } = await runRaw(start, { signal, deadlineMs: UNIT_DEADLINE_MS * lab.driver.patience });
  if (exitCode === 0) return;
  const journal = ["journalctl", "--unit", unit, "--lines=15", "--no-pager", "--output=cat"];
  const said = await runRaw(await lab.driver.command(name, journal), { signal });
  throw new LabError("failed", `${name}: ${unit} does not start:\n  ${said.stdout.trim().replaceAll("\n", "\n  ")}`);
}

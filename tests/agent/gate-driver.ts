/**
 * The parts of the agent that two-phase.e2e.test.ts plays, run inside a node: one order as a JSON line on stdin, one
 * answer as a JSON line on stdout. Killed by the test wherever an agent could be.
 */
import { createInterface } from "node:readline";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { dumpContainer } from "../../agent/src/criu/dump-container.ts";
import { cgroupPids, isFrozen } from "../../agent/src/host/cgroup.ts";
import { runCommand } from "../../agent/src/host/run-command.ts";
import { DOCKER_RUNC_ROOT, runcContainer } from "../../agent/src/host/runc-state.ts";
import { destinationFiles } from "../../agent/src/network-lock/destination-files.ts";
import { blockMac, unblockMac } from "../../agent/src/network-lock/mac-block.ts";
import { drainAcceptQueues, dropAll, holdNewConnections, unlock } from "../../agent/src/network-lock/source-lock.ts";
import { openRuntimeGate } from "../../agent/src/runtime-gate/open-runtime-gate.ts";
import type { RestoreSession, RuntimeGate } from "../../agent/src/runtime-gate/runtime-gate.ts";

/** Everything an order may carry. */
interface Order {
  readonly seq: number;
  readonly cmd: string;
  readonly dockerId: string;
  readonly migrationId: string;
  readonly network: string;
  readonly ipv4: string;
  readonly parent: string;
  readonly mac: string;
  readonly imageDirectory: string;
  readonly workDirectory: string;
  readonly reason: string;
  readonly argv: readonly string[];
  readonly deadlineMs: number;
}

const GATE_LIMIT_MS = 60_000;
let gate: RuntimeGate | undefined;

async function openGate(): Promise<RuntimeGate> {
  gate ??= await openRuntimeGate({ onProblem: (message, cause) => console.error(message, cause) });
  return gate;
}

async function session(order: Order): Promise<RestoreSession> {
  const found = (await openGate()).session(order.dockerId);
  if (found === undefined) throw new DrayError("NOT_FOUND", `no session of ${order.dockerId}`);
  return found;
}

const COMMANDS: Readonly<Record<string, (order: Order) => Promise<unknown>>> = {
  run: async ({ argv, deadlineMs }) => runCommand(argv, { deadlineMs }),
  open: async () => (await openGate()).sessions().map(({ dockerId, state }) => ({ dockerId, state: state.name })),
  arm: async ({ dockerId, migrationId, network, ipv4, deadlineMs = GATE_LIMIT_MS }) => {
    const files = destinationFiles(migrationId, [{ network, ipv4, ipv6: "" }]);
    await (await openGate()).arm({ dockerId, migrationId, deadlineMs, network: files });
  },
  held: async (order) => (await session(order)).held,
  release: async (order) => (await session(order)).release(order),
  images: async (order) => (await session(order)).imagesComplete(),
  pages: async (order) => (await session(order)).pagesComplete(),
  prepared: async (order) => (await session(order)).prepared,
  commit: async (order) => (await session(order)).commit(),
  abort: async (order) => (await session(order)).abort(order.reason),
  disarm: async ({ dockerId }) => (await openGate()).disarm(dockerId),
  diagnosis: async (order) => (await session(order)).restoreDiagnosis(),
  state: async (order) => (await session(order)).state,
  block: ({ migrationId, parent, mac }) => blockMac({ migrationId, parent, macs: [mac] }),
  unblock: ({ migrationId }) => unblockMac(migrationId),
  hold: async (order) => holdNewConnections(await lockTarget(order)),
  drain: async (order) => drainAcceptQueues(await lockTarget(order), 1000),
  drop: async (order) => dropAll(await lockTarget(order)),
  unlock: async (order) => unlock(await lockTarget(order)),
  dump: ({ dockerId, migrationId, imageDirectory, workDirectory, deadlineMs = GATE_LIMIT_MS }) =>
    dumpContainer({ dockerId, migrationId, imageDirectory, workDirectory, deadlineMs }),
  kernel: async ({ dockerId }) => {
    const container = await runcContainer(DOCKER_RUNC_ROOT, dockerId);
    if (container === null) return null;
    const pids = await cgroupPids(container.cgroup);
    return { ...container, pids, frozen: pids.length > 0 && (await isFrozen(container.cgroup)) };
  },
};

async function lockTarget({ dockerId, migrationId }: Order): Promise<{ pid: number; migrationId: string }> {
  const container = await runcContainer(DOCKER_RUNC_ROOT, dockerId);
  if (container === null) throw new DrayError("NOT_FOUND", `no container ${dockerId}`);
  return { pid: container.initPid, migrationId };
}

async function carryOut(order: Order): Promise<void> {
  const answer = (fields: object) => console.log(JSON.stringify({ seq: order.seq, ...fields }));
  try {
    const command = COMMANDS[order.cmd];
    if (command === undefined) throw new DrayError("BAD_REQUEST", `no command ${order.cmd}`);
    answer({ result: (await command(order)) ?? null });
  } catch (error) {
    answer({ error: error instanceof DrayError ? `${error.reason}: ${error.message}` : String(error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  void carryOut(JSON.parse(line) as Order);
}
process.exit(0);

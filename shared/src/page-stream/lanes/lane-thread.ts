/**
 * Entry of a thread that runs lanes: one of each transfer of this agent, in either direction. It listens on a port of
 * its own, and connects where the main thread tells it to.
 */
import { parentPort, workerData } from "node:worker_threads";
import { CONNECTION_LIMIT, HANDSHAKE_DEADLINE_MS, openPageDoor } from "../page-door.ts";
import { failureOf } from "../messages.ts";
import { greetLane } from "./incoming-lane.ts";
import type { LaneDial, LaneThreadData, LaneThreadReport } from "./lane-messages.ts";
import { dialLane } from "./outgoing-lane.ts";

const main = parentPort;
if (main === null) throw new Error("this is the entry of a thread, not of a program");
const { identity, host, tcpPort } = workerData as LaneThreadData;
const onIncident = (message: string, details: Record<string, unknown>) =>
  report({ kind: "incident", message, details });

main.on("message", (dial: LaneDial) => dialLane(identity, dial));
try {
  const door = await openPageDoor({
    identity,
    host,
    port: tcpPort,
    connectionLimit: CONNECTION_LIMIT,
    handshakeDeadlineMs: HANDSHAKE_DEADLINE_MS,
    onIncident,
    onConnection: (socket) =>
      greetLane(socket, { onIncident, onArrival: (arrival) => main.postMessage(arrival, [arrival.port]) }),
  });
  report({ kind: "listening", tcpPort: door.port });
} catch (thrown) {
  report({ kind: "failed", failure: failureOf(thrown) });
}

function report(message: LaneThreadReport): void {
  main?.postMessage(message);
}

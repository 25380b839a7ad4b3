/** TCP sockets of a network namespace, from /proc/<pid>/net/tcp and tcp6. */
import { tcpTables } from "../host/tcp-tables.ts";

const SYN_RECV = 3;
const LISTEN = 10;
/** Closing sockets without an owner are in no image. */
const CLOSING = new Set([4, 5, 9, 11]);

export interface TcpCounts {
  /** Connections in accept queues. */
  readonly unaccepted: number;
  /** Handshakes under way. */
  readonly halfOpen: number;
  /** Closing sockets that no process owns any more. */
  readonly orphans: number;
}

/** Pure: of a listener, rx_queue is the length of its accept queue. */
export function countTcp(text: string): TcpCounts {
  let unaccepted = 0;
  let halfOpen = 0;
  let orphans = 0;
  for (const line of text.split("\n").slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [, , , stateHex, queues] = fields;
    if (stateHex === undefined || queues === undefined) continue;
    const state = Number.parseInt(stateHex, 16);
    if (state === LISTEN) unaccepted += Number.parseInt(queues.split(":")[1] ?? "0", 16);
    else if (state === SYN_RECV) halfOpen++;
    else if (CLOSING.has(state) && fields[9] === "0") orphans++;
  }
  return { unaccepted, halfOpen, orphans };
}

/** Counts of both address families. */
export async function tcpCounts(pid: number): Promise<TcpCounts> {
  const counts = (await tcpTables(pid)).map(countTcp);
  const sum = (of: (count: TcpCounts) => number) => counts.reduce((total, count) => total + of(count), 0);
  return {
    unaccepted: sum((count) => count.unaccepted),
    halfOpen: sum((count) => count.halfOpen),
    orphans: sum((count) => count.orphans),
  };
}

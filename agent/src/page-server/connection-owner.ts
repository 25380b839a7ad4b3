/** Whose a TCP connection over the loopback is, by the kernel's table of connections (proc_pid_net(5)). */
import { readFile } from "node:fs/promises";

export interface Endpoint {
  /** Dotted. */
  readonly address: string;
  readonly port: number;
}

/** Of the namespace in which this process listens. */
const TABLE = "/proc/self/net/tcp";
const ESTABLISHED = "01";
/** The kernel hands the table out in pieces, and may skip a connection when others end meanwhile. */
const LOOKS = 3;

/** User id of who holds the end `near` of the connection to `far`; null if nobody does. */
export async function ownerOfConnection(near: Endpoint, far: Endpoint): Promise<number | null> {
  for (let look = 0; look < LOOKS; look++) {
    const owner = ownerIn(await readFile(TABLE, "latin1"), near, far);
    if (owner !== null) return owner;
  }
  return null;
}

/** The same, in a table that was read. */
export function ownerIn(table: string, near: Endpoint, far: Endpoint): number | null {
  const [wantedNear, wantedFar] = [inTable(near), inTable(far)];
  for (const line of table.split("\n")) {
    const [, local, remote, state, , , , uid, , inode] = line.trim().split(/\s+/);
    if (local !== wantedNear || remote !== wantedFar) continue;
    // An end that was closed already has no inode and is listed as root's, whoever had it.
    return state === ESTABLISHED && inode !== "0" && uid !== undefined ? Number(uid) : null;
  }
  return null;
}

/** Address and port in hexadecimal, the address as a number in host byte order. */
function inTable({ address, port }: Endpoint): string {
  const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, "0");
  const bytes = address.split(".").map(Number).reverse();
  return `${bytes.map((byte) => hex(byte, 2)).join("")}:${hex(port, 4)}`;
}

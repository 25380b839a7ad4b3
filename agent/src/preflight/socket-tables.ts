/** What `ss` prints, and /proc/<pid>/net/tcp. Pure. */

/** A row of `ss -H -x -a` (unix) or `ss -H -M -a -n` (MPTCP). */
export interface UnixSocket {
  /** u_str, u_dgr or u_seq. */
  readonly kind: string;
  readonly state: string;
  readonly path: string;
  readonly inode: number;
  /** 0 if it has none. */
  readonly peerInode: number;
}

/** `u_str ESTAB 0 0 /run/x.sock 26866 * 26865`; paths hold no spaces as a rule, but may. */
export function parseUnixSockets(text: string): UnixSocket[] {
  return text.split("\n").flatMap((line) => {
    const match = /^(u_\S+)\s+(\S+)\s+\d+\s+\d+\s+(.*?)\s+(\d+)\s+(?:\*|\S.*?)\s+(\d+)(?:\s.*)?$/.exec(line.trim());
    if (match === null) return [];
    const [, kind = "", state = "", path = "", inode, peerInode] = match;
    return [{ kind, state, path, inode: Number(inode), peerInode: Number(peerInode) }];
  });
}

/** Local addresses of `ss -H -M -a -n`: "LISTEN 0 4096 *:8080 *:*". */
export function parseMptcpSockets(text: string): { readonly state: string; readonly local: string }[] {
  return text.split("\n").flatMap((line) => {
    const [state, , , local] = line.trim().split(/\s+/);
    return state === undefined || local === undefined ? [] : [{ state, local }];
  });
}

export interface ListeningPort {
  readonly protocol: "tcp" | "udp";
  /** "*" for all. */
  readonly address: string;
  readonly port: number;
}

/** `ss -H -l -n -t -u`: "tcp LISTEN 0 4096 0.0.0.0:22 0.0.0.0:*". */
export function parseListeningPorts(text: string): ListeningPort[] {
  return text.split("\n").flatMap((line) => {
    const [protocol, , , , local] = line.trim().split(/\s+/);
    const match = /^(.*):([0-9]+)$/.exec(local ?? "");
    if (match === null || (protocol !== "tcp" && protocol !== "udp")) return [];
    const address = (match[1] ?? "").replace(/^\[|\]$/g, "").replace(/%.*$/, "");
    const any = address === "*" || address === "0.0.0.0" || address === "::";
    return [{ protocol, address: any ? "*" : address, port: Number(match[2]) }];
  });
}

const ESTABLISHED = "01";
const LOOPBACK_V4 = /^[0-9A-F]{6}7F$/;
const LOOPBACK_V6 = "00000000000000000000000001000000";
const LOOPBACK_MAPPED = /^0000000000000000FFFF0000[0-9A-F]{6}7F$/;

/** Established connections of /proc/<pid>/net/tcp or tcp6 that leave the container. */
export function countEstablished(table: string): number {
  return table.split("\n").filter((line) => {
    const [, , remote, state] = line.trim().split(/\s+/);
    if (state !== ESTABLISHED || remote === undefined) return false;
    const address = remote.split(":")[0] ?? "";
    return !LOOPBACK_V4.test(address) && address !== LOOPBACK_V6 && !LOOPBACK_MAPPED.test(address);
  }).length;
}

/** The TCP sockets of a network namespace, as the kernel tells of them: see proc_pid_net(5). */
import { readFile } from "node:fs/promises";

/** The texts of /proc/<pid>/net/tcp and tcp6, of any process in the namespace. Throws ENOENT if it is gone. */
export function tcpTables(pid: number): Promise<string[]> {
  return Promise.all(["tcp", "tcp6"].map((name) => readTable(`/proc/${pid}/net/${name}`)));
}

/** A kernel without IPv6 has no tcp6. */
async function readTable(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT" && path.endsWith("6")) return "";
    throw error;
  }
}

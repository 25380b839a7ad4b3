/** Symbolic links as the processes of a container follow them: none leads out of its root. */
import { readlink } from "node:fs/promises";
import { join } from "node:path";

/** As many as the kernel follows, see path_resolution(7). */
const LINK_LIMIT = 40;
const NO_LINK: ReadonlySet<string> = new Set(["EINVAL", "ENOENT", "ENOTDIR", "ESRCH"]);

/**
 * The absolute path within `root` to which an absolute path there leads.
 * Components that do not exist are taken as they are.
 */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  const pending = path.split("/");
  let resolved: string[] = [];
  let links = 0;
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      resolved.pop();
      continue;
    }
    const target = links < LINK_LIMIT ? await linkAt(join(root, ...resolved, name)) : undefined;
    if (target === undefined) {
      resolved.push(name);
      continue;
    }
    links++;
    if (target.startsWith("/")) resolved = [];
    pending.unshift(...target.split("/"));
  }
  return `/${resolved.join("/")}`;
}

async function linkAt(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (thrown) {
    if (NO_LINK.has((thrown as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw thrown;
  }
}

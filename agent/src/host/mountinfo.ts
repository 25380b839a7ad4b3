/** /proc/<pid>/mountinfo, see proc(5). */
import { readdir, readFile, readlink } from "node:fs/promises";

/** What /proc answers of a process that is no more. */
const ENDED: ReadonlySet<string> = new Set(["ENOENT", "ESRCH", "EINVAL"]);

export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** Major and minor number, "8:1". */
  readonly device: string;
  /** Path within the file system that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  /** "shared:1", "master:2" and the like. */
  readonly propagation: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

export function parseMountinfo(text: string): Mount[] {
  return text.split("\n").flatMap((line) => {
    const mount = parseLine(line);
    return mount === null ? [] : [mount];
  });
}

/** The mounts that a process sees. */
export async function mountsOf(pid: number | "self"): Promise<Mount[]> {
  return parseMountinfo(await readFile(`/proc/${pid}/mountinfo`, "utf8"));
}

/** What the processes of all other mount namespaces see, one table for each namespace. */
export async function otherMountTables(): Promise<Mount[][]> {
  const seen = new Set([await readlink("/proc/self/ns/mnt")]);
  const tables: Mount[][] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^[0-9]+$/.test(pid)) continue;
    try {
      const namespace = await readlink(`/proc/${pid}/ns/mnt`);
      if (seen.has(namespace)) continue;
      tables.push(await mountsOf(Number(pid)));
      seen.add(namespace);
    } catch (error) {
      // It has ended, or has no namespace any more: a zombie.
      if (!ENDED.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }
  return tables;
}

function parseLine(line: string): Mount | null {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  if (separator < 0) return null;
  const [id, parentId, device, root, mountPoint, options] = fields;
  const [type, source, superOptions] = fields.slice(separator + 1);
  if (options === undefined || superOptions === undefined) return null;
  return {
    id: Number(id),
    parentId: Number(parentId),
    device: device ?? "",
    root: unescapeOctal(root ?? ""),
    mountPoint: unescapeOctal(mountPoint ?? ""),
    options: options.split(","),
    propagation: fields.slice(6, separator),
    type: type ?? "",
    source: unescapeOctal(source ?? ""),
    superOptions: superOptions.split(",").map(unescapeOctal),
  };
}

/** The kernel writes space, tab, newline and backslash as \ooo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

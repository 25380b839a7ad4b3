/** What of a process's address space a dump will hold as pages: /proc/PID/maps, see proc(5). Pure. */

/** Pages that only this process has. */
interface PrivateMapping {
  readonly kind: "private";
  readonly start: number;
  readonly end: number;
  /** Of a file: only pages that were written to are the process's own. */
  readonly file: boolean;
}

/** Pages of a memory object that others may have mapped, too. */
interface SharedMapping {
  readonly kind: "shared";
  readonly start: number;
  readonly end: number;
  /** Inode of the object: CRIU numbers its image by it. */
  readonly inode: number;
  /** Where in the object the mapping begins, bytes. */
  readonly offset: number;
}

export type Mapping = PrivateMapping | SharedMapping;

const LINE = /^([0-9a-f]+)-([0-9a-f]+) ...([ps]) ([0-9a-f]+) \S+ (\d+) *(.*)$/;
/** Made by the kernel for each process anew. */
const KERNELS_OWN = new Set(["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"]);
/** Of these CRIU takes the content at the end only: huge pages, and what the kernel writes by itself. */
const NOT_BEFORE_THE_END = ["/anon_hugepage", "/[aio]"];
/** Objects without a file system: MAP_SHARED | MAP_ANONYMOUS, and memfd_create. System V's travel in an image of their own. */
const SHARED_MEMORY = ["/dev/zero (deleted)", "/memfd:"];

/** In ascending order. What is not understood is left out: the final dump has it all the same. */
export function readMappings(maps: string): Mapping[] {
  const mappings: Mapping[] = [];
  for (const line of maps.split("\n")) {
    const [, from = "", to = "", sharing = "", offset = "", inode = "", path = ""] = LINE.exec(line) ?? [];
    if (sharing === "" || KERNELS_OWN.has(path) || NOT_BEFORE_THE_END.some((name) => path.startsWith(name))) continue;
    const start = Number.parseInt(from, 16);
    const end = Number.parseInt(to, 16);
    if (sharing === "p") mappings.push({ kind: "private", start, end, file: inode !== "0" });
    else if (SHARED_MEMORY.some((name) => path.startsWith(name))) {
      mappings.push({ kind: "shared", start, end, inode: Number(inode), offset: Number.parseInt(offset, 16) });
    }
  }
  return mappings;
}

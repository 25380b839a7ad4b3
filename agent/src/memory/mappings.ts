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
}

export type Mapping = PrivateMapping | SharedMapping;

const LINE = /^([0-9a-f]+)-([0-9a-f]+) ...([ps]) [0-9a-f]+ \S+ (\d+) *(.*)$/;
/** Made by the kernel for each process anew. */
const KERNELS_OWN = new Set(["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"]);
/**
 * Of these, where they are private, CRIU takes the content from the final dump alone: huge pages, which a memfd may have.
 * A restore that found them in the images of a round before would take other pages for them (generate_vma_iovs in
 * criu/mem.c).
 */
const FROM_THE_FINAL_DUMP = ["/anon_hugepage", "/memfd:"];
/** Objects without a file system: MAP_SHARED | MAP_ANONYMOUS, and memfd_create. System V's travel in an image of their own. */
const SHARED_MEMORY = ["/dev/zero (deleted)", "/memfd:"];

/** In ascending order, but for those that rounds must leave out. What is not understood is left out: the final dump has it all the same. */
export function readMappings(maps: string): Mapping[] {
  const mappings: Mapping[] = [];
  for (const line of lines(maps)) {
    const { start, end, path } = line;
    if (KERNELS_OWN.has(path) || isFromTheFinalDump(line)) continue;
    if (line.isPrivate) mappings.push({ kind: "private", start, end, file: line.inode !== 0 });
    else if (SHARED_MEMORY.some((name) => path.startsWith(name))) {
      mappings.push({ kind: "shared", start, end, inode: line.inode });
    }
  }
  return mappings;
}

/** Of which the final dump must bring the content, whatever rounds have had there before. */
export function mappingsFromTheFinalDump(maps: string): Pick<Mapping, "start" | "end">[] {
  return [...lines(maps)].filter(isFromTheFinalDump);
}

interface Line {
  readonly start: number;
  readonly end: number;
  readonly isPrivate: boolean;
  /** 0 if it is of no file. */
  readonly inode: number;
  readonly path: string;
}

function isFromTheFinalDump({ isPrivate, path }: Line): boolean {
  return isPrivate && FROM_THE_FINAL_DUMP.some((name) => path.startsWith(name));
}

function* lines(maps: string): Generator<Line, void, undefined> {
  for (const line of maps.split("\n")) {
    const [, from = "", to = "", sharing = "", inode = "", path = ""] = LINE.exec(line) ?? [];
    if (sharing === "") continue;
    yield {
      start: Number.parseInt(from, 16),
      end: Number.parseInt(to, 16),
      isPrivate: sharing === "p",
      inode: Number(inode),
      path,
    };
  }
}

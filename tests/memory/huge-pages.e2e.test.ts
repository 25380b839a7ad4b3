/**
 * Huge pages of hugetlbfs, in each way in which a process can have them. CRIU restores private ones from the final dump
 * alone, and would take other pages for them if it found them in an earlier round.
 *
 * All nodes have the kernel's huge pages in common: those that it needs are reserved on this machine, and given back.
 */
import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { firstConnection } from "../harness/containers.ts";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const HUGE_PAGES = "/proc/sys/vm/nr_hugepages";
/** Of 2 MiB: four mappings of 8 MiB, on both nodes, and what the shared object of a private one takes. */
const NEEDED = 48;
const PORT = 7100;
const stage = new Stage("huge-pages", ["debian-tools"]);

/** Answers each line with what is wrong in which of three mappings, if anything. */
const KEEPER = `
import ctypes, os, random, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
SIZE, READ_WRITE, SHARED, PRIVATE, ANONYMOUS, HUGE, MFD_HUGE = 8 << 20, 3, 1, 2, 0x20, 0x40000, 4
def mapped(flags, fd):
    address = libc.mmap(None, SIZE, READ_WRITE, flags, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return (ctypes.c_char * SIZE).from_address(address)
noise = [random.Random(seed).randbytes(SIZE) for seed in range(3)]
object = libc.memfd_create(b"huge", MFD_HUGE)
os.ftruncate(object, SIZE)
kinds = {
    "a private memfd": mapped(PRIVATE, object),
    "private anonymous memory": mapped(PRIVATE | ANONYMOUS | HUGE, -1),
    "shared anonymous memory": mapped(SHARED | ANONYMOUS | HUGE, -1),
}
for memory, content in zip(kinds.values(), noise):
    memory[:] = content
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
for line in client.makefile():
    wrong = [kind for (kind, memory), content in zip(kinds.items(), noise) if memory[:] != content]
    client.sendall(("wrong: %s\\n" % ", ".join(wrong)).encode())
`;

/** Has ordinary memory, or at the same addresses huge pages; says which, and whether they are as they were written. */
const SWAPPER = `
import ctypes, random, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
SIZE, HUGE_PAGE, READ_WRITE, PRIVATE, FIXED, ANONYMOUS, HUGE = 8 << 20, 2 << 20, 3, 2, 0x10, 0x20, 0x40000
kinds = {"ordinary": (0, random.Random(1).randbytes(SIZE)), "huge": (HUGE, random.Random(2).randbytes(SIZE))}
room = libc.mmap(None, SIZE + HUGE_PAGE, READ_WRITE, PRIVATE | ANONYMOUS, -1, 0)
address = (room + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE
def become(kind):
    flags, content = kinds[kind]
    if libc.mmap(address, SIZE, READ_WRITE, PRIVATE | FIXED | ANONYMOUS | flags, -1, 0) != address:
        raise OSError(ctypes.get_errno(), "mmap")
    memory = (ctypes.c_char * SIZE).from_address(address)
    memory[:] = content
    return kind, memory
kind, memory = become("ordinary")
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
for line in client.makefile():
    if line.strip() in kinds:
        kind, memory = become(line.strip())
    client.sendall(("%s, %s\\n" % (kind, "right" if memory[:] == kinds[kind][1] else "wrong")).encode())
`;
/** Rounds are over, and the container runs. */
const AFTER_ROUNDS = "source.before-freeze";

let reserved = 0;

/** So many more than there are, or fewer: others may have reserved some for themselves. Returns how many are missing. */
async function reserve(more: number): Promise<number> {
  const wanted = Number(await readFile(HUGE_PAGES, "utf8")) + more;
  await writeFile(HUGE_PAGES, String(wanted));
  const there = Number(await readFile(HUGE_PAGES, "utf8"));
  reserved += more - (wanted - there);
  return wanted - there;
}

beforeAll(async () => {
  const missing = await reserve(NEEDED);
  if (missing > 0) throw new Error(`the kernel lacks ${missing} huge pages of ${NEEDED}: its memory is in pieces`);
});
afterAll(() => reserve(-reserved));

test("are right in every mode", async () => {
  const { lab, source, destination } = stage;
  const command = ["python3", "-c", KEEPER];
  const place = { node: source, address: stage.address() };
  const container = await stage.start({ ...place, name: "huge-pages", image: "debian-tools:latest", command });
  const client = await firstConnection(lab, source, container, PORT);
  try {
    for (const [mode, to] of [
      ["stop-copy", destination],
      ["pre-copy", source],
      ["post-copy", destination],
      ["hybrid", source],
    ] as const) {
      await migrate(lab, container.name, to, "--mode", mode);
      expect(await client.ask("check\n")).toBe("wrong: ");
      await assertOneCopy(lab, container, to);
    }
    await stage.nothingElseLeft();
  } finally {
    client.close();
  }
});

test("are right where ordinary memory was in the last round", async () => {
  const { lab, source, destination } = stage;
  const command = ["python3", "-c", SWAPPER];
  const place = { node: source, address: stage.address() };
  const container = await stage.start({ ...place, name: "swapped", image: "debian-tools:latest", command });
  const client = await firstConnection(lab, source, container, PORT);
  const faults = await FaultPoints.open(lab);
  try {
    for (const [mode, from, to] of [
      ["pre-copy", source, destination],
      ["hybrid", destination, source],
    ] as const) {
      expect(await client.ask("ordinary\n")).toBe("ordinary, right");
      await faults.set(from, [{ point: AFTER_ROUNDS, action: "hang" }]);
      const order = ["migrate", container.name, "--to", to, "--mode", mode, "--detach"];
      const { id } = (await lab.dray<{ id: string }>(order)).document;
      await faults.firing(AFTER_ROUNDS, 60_000);
      expect(await client.ask("huge\n")).toBe("huge, right");
      await faults.clear();
      const { document } = await lab.dray<MigrationDocument>(["migration", "watch", id]);
      expect(document).toMatchObject({ outcome: "completed", mode });
      expect(await client.ask("check\n")).toBe("huge, right");
      await assertOneCopy(lab, container, to);
    }
    await stage.nothingElseLeft();
  } finally {
    await faults.clear();
    faults.close();
    client.close();
  }
});

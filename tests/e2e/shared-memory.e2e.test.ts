/** System V shared memory: what is in it, who shares it, what nobody has attached or touched. */
import { expect, test } from "vitest";
import { firstConnection } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("shared-memory", ["debian-tools"]);
const PORT = 7100;

/**
 * Four segments: "full" of noise, attached by two processes of which one counts in it all the time; "empty", attached and
 * never touched; "alone", written and then attached by nobody; "going", to be removed with its last user. Answers
 * \`check\` with what is wrong, or with the count; \`touch\` with what was in the empty one.
 */
const KEEPER = `
import ctypes, os, random, socket, struct, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmdt.argtypes = [ctypes.c_void_p]
MEGABYTE, CREATE, REMOVE = 1 << 20, 0o1000, 0
def done(result, what):
    if result == -1 or result == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), what)
    return result
class Segment:
    def __init__(self, key, size):
        self.key, self.size = key, size
        self.id = done(libc.shmget(key, size, CREATE | 0o600), "shmget")
        self.attach()
    def attach(self):
        self.address = done(libc.shmat(self.id, None, 0), "shmat")
        self.memory = (ctypes.c_char * self.size).from_address(self.address)
    def detach(self):
        done(libc.shmdt(self.address), "shmdt")
    def found(self):
        return libc.shmget(self.key, 0, 0) == self.id
noise = lambda seed, size: random.Random(seed).randbytes(size)
full, empty, alone, going = Segment(101, 9 * MEGABYTE), Segment(102, 5 * MEGABYTE), Segment(103, 3 * MEGABYTE), Segment(104, MEGABYTE)
full.memory[8:] = noise(1, full.size - 8)
alone.memory[:] = noise(3, alone.size)
alone.detach()
going.memory[:] = noise(4, going.size)
done(libc.shmctl(going.id, REMOVE, None), "shmctl")
count = lambda: struct.unpack("Q", full.memory[:8])[0]
if os.fork() == 0:
    while os.getppid() == 1:
        full.memory[:8] = struct.pack("Q", count() + 1)
        time.sleep(0.005)
    os._exit(1)
def check():
    if full.memory[8:] != noise(1, full.size - 8): return "wrong full"
    if going.memory[:] != noise(4, going.size): return "wrong going"
    alone.attach()
    right = alone.memory[:] == noise(3, alone.size)
    alone.detach()
    if not right: return "wrong alone"
    if not (full.found() and empty.found() and alone.found()): return "wrong ids"
    return "count %d" % count()
def touch():
    before = empty.memory[:].count(b"\\0")
    empty.memory[:] = noise(2, empty.size)
    return "zeros %d, then %s" % (before, "right" if empty.memory[:] == noise(2, empty.size) else "wrong")
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
for line in client.makefile():
    client.sendall(({"check": check, "touch": touch}[line.strip()]() + "\\n").encode())
`;

test("segments are whole, still shared, and still known by their keys", async () => {
  const { lab } = stage;
  const place = { node: stage.source, address: stage.address() };
  const command = ["python3", "-c", KEEPER];
  const container = await stage.start({ ...place, name: "shared", image: "debian-tools:latest", command });
  const client = await firstConnection(lab, stage.source, container, PORT);
  const count = async () => {
    const answer = await client.ask("check\n");
    const counted = /^count (\d+)$/.exec(answer)?.[1];
    if (counted === undefined) throw new Error(`it says: ${answer}`);
    return Number(counted);
  };
  try {
    let last = await count();
    const { source, destination } = stage;
    for (const [to, mode] of [
      [destination, "auto"],
      [source, "pre-copy"],
      [destination, "post-copy"],
      [source, "hybrid"],
    ] as const) {
      await migrate(lab, container.name, to, "--mode", mode);
      await eventually(async () => ((await count()) > last ? true : undefined), {
        what: "the other process counts on in the memory that both share",
        deadlineMs: 20_000,
      });
      last = await count();
      await assertOneCopy(lab, container, to);
    }
    expect(await client.ask("touch\n")).toBe(`zeros ${5 * 2 ** 20}, then right`);
    await stage.nothingElseLeft();
  } finally {
    client.close();
  }
});

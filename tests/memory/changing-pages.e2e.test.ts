/** Memory of which little changes, in the same places over and over: counters, clocks, positions in queues. */
import { expect, test } from "vitest";
import { firstConnection } from "../harness/containers.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const stage = new Stage("changing-pages", ["debian-tools"]);
const PORT = 7100;
const PAGES = 4000;

/** Counts in every page of a memory of noise, all of them in each turn, so that any two rounds differ in all. Answers `check` with what is wrong. */
const COUNTERS = `
import array, hashlib, mmap, os, socket, threading, time
PAGES = ${PAGES}
memory = mmap.mmap(-1, PAGES << 12, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = os.urandom(PAGES << 12)
counts = array.array("I", bytes(4 * PAGES))
place = lambda page: slice((page << 12) + 64, (page << 12) + 68)
for page in range(PAGES): memory[place(page)] = bytes(4)
def noise():
    found = hashlib.sha256()
    for page in range(PAGES):
        found.update(memory[page << 12:(page << 12) + 64])
        found.update(memory[(page << 12) + 68:(page + 1) << 12])
    return found.digest()
before = noise()
lock = threading.Lock()
def count():
    number = 0
    while True:
        with lock:
            for _ in range(PAGES):
                number += 1
                counts[number % PAGES] = number
                memory[place(number % PAGES)] = number.to_bytes(4, "little")
        time.sleep(0.01)
threading.Thread(target=count, daemon=True).start()
def check():
    with lock:
        wrong = sum(int.from_bytes(memory[place(page)], "little") != counts[page] for page in range(PAGES))
        return "wrong %d, noise %s, counted %d\\n" % (wrong, "right" if noise() == before else "wrong", max(counts))
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
for line in client.makefile(): client.sendall(check().encode())
`;

test("of pages that change again and again, only what has changed goes over the link", async () => {
  const { lab } = stage;
  const place = { node: stage.source, address: stage.address() };
  const command = ["python3", "-c", COUNTERS];
  const container = await stage.start({ ...place, name: "counters", image: "debian-tools:latest", command });
  const client = await firstConnection(lab, stage.source, container, PORT);
  const counted = async () => {
    const answer = await client.ask("check\n");
    const number = /^wrong 0, noise right, counted (\d+)$/.exec(answer)?.[1];
    if (number === undefined) throw new Error(`it says: ${answer}`);
    return Number(number);
  };
  try {
    let last = await counted();
    for (const to of [stage.destination, stage.source]) {
      const { rounds } = await migrate(lab, container.name, to, "--mode", "pre-copy");
      const now = await counted();
      expect(now).toBeGreaterThan(last);
      last = now;
      const inSwitch = rounds.at(-1);
      // From the second round on it is known what the destination has of them.
      expect(rounds.length).toBeGreaterThan(2);
      expect(inSwitch?.dirty_bytes).toBeGreaterThan(PAGES * 4096 * 0.5);
      expect(inSwitch?.bytes).toBeLessThan((inSwitch?.dirty_bytes ?? 0) / 4);
      await assertOneCopy(lab, container, to);
    }
    await stage.nothingElseLeft();
  } finally {
    client.close();
  }
});

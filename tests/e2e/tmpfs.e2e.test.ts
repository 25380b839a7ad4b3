/** File systems in memory: large ones, and files in them that are written to through mappings. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { metricsOf, sumOf } from "../harness/prometheus.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("tmpfs", ["debian-tools"]);
const CACHE_MEGABYTES = 96;

/**
 * /cache: a tree that stays as it is, and a deleted file that is held open. /dev/shm: `ring`, mapped all the time and
 * written to; `quiet`, which is opened, mapped, written to and closed each time. On USR1 it stops and says whether each
 * holds what it has written.
 */
const PROGRAM = `
import hashlib, mmap, os, signal, time
os.makedirs("/cache/deep/er")
for n in range(${CACHE_MEGABYTES}):
    with open("/cache/deep/f%d" % n, "wb") as f: f.write(os.urandom(1 << 20))
os.link("/cache/deep/f1", "/cache/hard"); os.symlink("nowhere", "/cache/soft"); os.mkfifo("/cache/pipe")
os.chown("/cache/deep/f2", 1234, 4321); os.chmod("/cache/deep/f2", 0o751); os.utime("/cache/deep", ns=(1, 987654321012345678))
with open("/cache/sparse", "wb") as f: f.seek(50 << 20); f.write(b"end")
os.mkdir("/cache/held")
held = os.open("/cache/held/file", os.O_RDWR | os.O_CREAT); os.write(held, b"held" * (1 << 20)); os.unlink("/cache/held/file")
ring_file = os.open("/dev/shm/ring", os.O_RDWR | os.O_CREAT); os.write(ring_file, os.urandom(1 << 20) * 64)
ring = mmap.mmap(ring_file, 0); os.close(ring_file)
with open("/dev/shm/quiet", "wb") as f: f.write(bytes(1 << 20))
written = {}
def write_quietly(number):
    file = os.open("/dev/shm/quiet", os.O_RDWR)
    view = mmap.mmap(file, 0); os.close(file)
    at = number * 4099 % (1 << 20)
    # Read before it is written to, a page is written to without a new time.
    assert view[at] == written.get(at, 0)
    view[at] = written[at] = number % 255 + 1
    view.close()
last = {}
number = 0; stopped = False
def stop(*_): global stopped; stopped = True
signal.signal(signal.SIGUSR1, stop)
open("/ready", "w").close()
while True:
    while not stopped:
        write_quietly(number)
        at = (number % 16) << 22
        ring[at] = last[at] = number % 256
        number += 1
        time.sleep(0.005)
    stopped = False
    quiet = open("/dev/shm/quiet", "rb").read()
    wrong = ["quiet"] * sum(quiet[at] != value for at, value in written.items())
    wrong += ["ring"] * sum(ring[at] != value for at, value in last.items())
    wrong += ["held"] * (os.pread(held, 8 << 20, 0) != b"held" * (1 << 20))
    with open("/new", "w") as f: f.write("wrong: %s; of %d" % (wrong, len(written) + len(last)))
    os.rename("/new", "/verdict")
`;

/** Left out: the directory of the deleted file, in which CRIU makes it again for a moment. */
const PORTRAIT = `
find /cache ! -name held -printf '%P|%y|%m|%U:%G|%n|%T@|%l\\n' | sort
find /cache -type f -print0 | sort -z | xargs -0 sha256sum
grep -E ' (/cache|/dev/shm) ' /proc/mounts | sed 's/^[^ ]* //'
`;

const HOPS = [
  ["stop-copy", "destination"],
  ["pre-copy", "third"],
  ["post-copy", "source"],
  ["hybrid", "destination"],
] as const;

test("they travel while the container runs, whole, and what is written to them in any way", async () => {
  const { lab } = stage;
  const container = await stage.start({
    node: stage.source,
    name: "in-memory",
    address: stage.address(),
    image: "debian-tools:latest",
    options: ["--tmpfs=/cache:rw,size=200m,nr_inodes=5000", "--shm-size=128m"],
    command: ["python3", "-c", PROGRAM],
  });
  const inside = async (node: string, script: string) =>
    await lab.docker(node, "exec", container.name, "sh", "-c", script);
  await eventually(async () => ((await inside(stage.source, "ls /ready")) ? true : undefined), {
    what: "the files are written",
    deadlineMs: 60_000,
  });
  const portrait = await inside(stage.source, PORTRAIT);
  let from = stage.source;
  for (const [mode, hop] of HOPS) {
    const to = stage[hop];
    const sentBytes = async (kind: string) =>
      sumOf(await metricsOf(lab, from, "agent"), "drayage_transfer_bytes_total", { direction: "sent", kind });
    const [firstBefore, restBefore] = [await sentBytes("tmpfs"), await sentBytes("tmpfs-rest")];
    await migrate(lab, container.name, to, "--mode", mode);
    expect(await inside(to, PORTRAIT)).toBe(portrait);
    await inside(to, "rm -f /verdict; kill -USR1 1");
    const verdict = await eventually(async () => (await inside(to, "cat /verdict 2>/dev/null || true")) || undefined, {
      what: "it has looked",
      deadlineMs: 30_000,
    });
    expect(verdict).toMatch(/^wrong: \[\]; of [1-9]/);
    expect((await sentBytes("tmpfs")) - firstBefore).toBeGreaterThan(CACHE_MEGABYTES << 20);
    expect((await sentBytes("tmpfs-rest")) - restBefore).toBeLessThan(8 << 20);
    await assertOneCopy(lab, container, to);
    from = to;
  }
  await stage.nothingElseLeft();
});

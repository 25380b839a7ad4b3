/** The writable layer: thousands of changed files, deletions, everything that a tree can hold. */
import { expect, test } from "vitest";
import { eventually } from "../harness/eventually.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { metricsOf, sumOf } from "../harness/prometheus.ts";
import { Stage } from "./stage.ts";

const stage = new Stage("layer", ["debian-tools"]);

/**
 * Makes the tree, then waits. Descriptor 8 is a deleted file of 120 MB; on USR1 its digest is written down, on USR2 one
 * file more is changed.
 */
const MAKE_TREE = `
import hashlib, os, signal, time
os.makedirs("/tree/deep/er", exist_ok=True)
for n in range(5000):
    os.makedirs("/tree/d%d" % (n % 50), exist_ok=True)
    with open("/tree/d%d/f%d" % (n % 50, n), "w") as f: f.write("file %d\\n" % n * (n % 40))
for n in range(0, 5000, 7): os.unlink("/tree/d%d/f%d" % (n % 50, n))
os.system("rm -rf /usr/share/bash-completion /etc/skel; rm -f /usr/bin/free")
os.system("rm -rf /usr/share/python3; mkdir -p /usr/share/python3; echo new >/usr/share/python3/only")
os.link("/tree/d1/f1", "/tree/hard"); os.symlink("nowhere", "/tree/soft"); os.mkfifo("/tree/pipe")
os.mknod("/tree/null", 0o20666, os.makedev(1, 3))
with open("/tree/sparse", "wb") as f: f.seek(50 << 20); f.write(b"end")
os.setxattr("/tree/d1/f1", "user.note", b"kept")
os.chown("/tree/d2/f2", 1234, 4321); os.chmod("/tree/d2/f2", 0o4751); os.utime("/tree/d3/f3", ns=(123456789, 987654321012345678))
os.mkdir("/held"); held = os.open("/held/file", os.O_RDWR | os.O_CREAT)
block = bytes(range(256)) * 4096
for n in range(120): os.write(held, block)
os.unlink("/held/file")
def tell(*_):
    os.lseek(held, 0, 0); digest = hashlib.sha256(); size = 0
    while piece := os.read(held, 1 << 20): digest.update(piece); size += len(piece)
    with open("/held/new", "w") as f: f.write("%d %s %d\\n" % (size, digest.hexdigest(), os.fstat(held).st_nlink))
    os.rename("/held/new", "/held/digest")
signal.signal(signal.SIGUSR1, tell)
open("/ready", "w").close()
while True: time.sleep(3600)
`;

/**
 * Type, mode, owner, links, mtime, target of everything in the root file system, then every file's digest. Left out: what
 * Docker makes anew for each container, and the directory of the deleted file, in which CRIU makes and unlinks it again.
 */
const PORTRAIT = `
find / -xdev \\( -path /held -o -path /proc -o -path /sys -o -path /dev \\) -prune -o -printf '%P|%y|%m|%U:%G|%n|%T@|%l\\n' |
  grep -vE '^(etc/(hosts|hostname|resolv.conf|mtab)|.dockerenv|)\\|'
find / -xdev -type f ! -path '/held/*' ! -path '/etc/host*' ! -path /etc/resolv.conf -print0 | xargs -0 sha256sum
echo "note $(getfattr -n user.note --only-values /tree/d1/f1)"
echo "sparse $(du -k /tree/sparse | cut -f1)"
`;

function differences(before: string, after: string): string[] {
  const [had, has] = [new Set(before.split("\n")), new Set(after.split("\n"))];
  const lost = [...had].filter((line) => !has.has(line)).map((line) => `- ${line}`);
  return [...lost, ...[...has].filter((line) => !had.has(line)).map((line) => `+ ${line}`)].sort();
}

/**
 * Keeps a file of 64 equal megabytes open and mapped, and changes one byte of it through the mapping every 10 ms, at 16
 * places in turn. On USR1 it stops and says what is in the file: at the places one round's number or the one before,
 * and elsewhere what was written first.
 */
const WRITE_TO_ITS_FILE = `
import mmap, os, signal, time
file = os.open("/data", os.O_RDWR | os.O_CREAT); os.write(file, os.urandom(1 << 20) * 64)
view = mmap.mmap(file, 0); number = 0; stopped = False
def stop(*_): global stopped; stopped = True
signal.signal(signal.SIGUSR1, stop)
open("/ready", "w").close()
while not stopped: view[(number % 16) << 22] = number // 16 % 256; number += 1; time.sleep(0.01)
data = bytearray(open("/data", "rb").read())
near = sum(1 for n in range(16) if (data[n << 22] - data[15 << 22]) % 256 <= 1)
for n in range(16): data[n << 22] = data[1 << 20]
alike = sum(1 for n in range(64) if data[n << 20:(n + 1) << 20] == data[1 << 20:2 << 20])
with open("/new", "w") as f: f.write("%d places, %d megabytes" % (near, alike))
os.rename("/new", "/verdict")
while True: time.sleep(3600)
`;

test("5,000 files, deletions, links, devices, attributes, holes, and a large deleted file held open", async () => {
  const { lab } = stage;
  const container = await stage.start({
    node: stage.source,
    name: "tree",
    address: stage.address(),
    image: "debian-tools:latest",
    command: ["python3", "-c", MAKE_TREE],
  });
  const inside = async (node: string, script: string) =>
    await lab.docker(node, "exec", container.name, "sh", "-c", script);
  const heldDigest = async (node: string) => {
    await inside(node, "rm -f /held/digest; kill -USR1 1");
    return await eventually(async () => (await inside(node, "cat /held/digest 2>/dev/null || true")) || undefined, {
      what: "the held file is read",
      deadlineMs: 30_000,
    });
  };
  await eventually(async () => ((await inside(stage.source, "ls /ready")) ? true : undefined), {
    what: "the tree is made",
    deadlineMs: 60_000,
  });
  const portrait = await inside(stage.source, PORTRAIT);
  const held = await heldDigest(stage.source);
  expect(held).toMatch(/^125829120 [0-9a-f]{64} 0$/);
  for (const to of [stage.destination, stage.third, stage.source]) {
    await migrate(lab, container.name, to);
    expect(differences(portrait, await inside(to, PORTRAIT))).toEqual([]);
    expect(await heldDigest(to)).toBe(held);
    await assertOneCopy(lab, container, to);
  }
  await stage.nothingElseLeft();
});

test("of a file that is open and mapped for writing, the pages that changed travel in the freeze", async () => {
  const { lab } = stage;
  const container = await stage.start({
    node: stage.source,
    name: "open",
    address: stage.address(),
    image: "debian-tools:latest",
    command: ["python3", "-c", WRITE_TO_ITS_FILE],
  });
  const inside = async (node: string, ...argv: string[]) => await lab.docker(node, "exec", container.name, ...argv);
  await eventually(async () => (await inside(stage.source, "sh", "-c", "ls /ready 2>/dev/null || true")) || undefined, {
    what: "the file is written",
    deadlineMs: 60_000,
  });
  const restBytes = async () =>
    sumOf(await metricsOf(lab, stage.source, "agent"), "drayage_transfer_bytes_total", { kind: "layer-rest" });
  const before = await restBytes();
  await migrate(lab, container.name, stage.destination);
  const sentBytes = (await restBytes()) - before;
  expect(sentBytes).toBeGreaterThan(0);
  expect(sentBytes).toBeLessThan(1 << 20);
  const verdict = "kill -USR1 1 2>/dev/null; cat /verdict 2>/dev/null || true";
  const found = await eventually(async () => (await inside(stage.destination, "sh", "-c", verdict)) || undefined, {
    what: "the file is read",
    deadlineMs: 60_000,
  });
  expect(found).toBe("16 places, 64 megabytes");
  await assertOneCopy(lab, container, stage.destination);
  await stage.nothingElseLeft();
});

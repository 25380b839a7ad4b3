/** Storage that both hosts have mounted: what the container has open there goes on, and what only looks the same is refused. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { MigrationDocument } from "../../cli/src/documents/migration-document.ts";
import { FaultPoints } from "../faults/fault-points.ts";
import { firstConnection, knownToCluster, type StartedContainer } from "../harness/containers.ts";
import { eventually } from "../harness/eventually.ts";
import { Gluster } from "../harness/gluster.ts";
import type { LineConnection } from "../harness/line-connection.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "./stage.ts";
import { refusal, verdictOn } from "./verdict.ts";

const stage = new Stage("shared-storage", ["debian-tools"]);
const PORT = 7200;
/** Where every node has the volume. */
const SHARED = "/srv/shared";
const VOLUME = "shared-storage";

/**
 * Counts, all the time: into a file through one descriptor, without O_APPEND and never synced, and into another through
 * a mapping that is shared. Demands to find what it has left. Answers `count` with the count, or with what is wrong;
 * locks and unlocks the first file.
 */
const WRITER = `
import fcntl, mmap, os, select, socket, struct
journal = os.open("/data/journal", os.O_RDWR | os.O_CREAT, 0o644)
counter = os.open("/volume/counter", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(counter, 4096)
memory = mmap.mmap(counter, 4096)
count = written = 0
wrong = ""
def step():
    global count, written, wrong
    mapped = struct.unpack("Q", memory[:8])[0]
    at = os.lseek(journal, 0, os.SEEK_CUR)
    if mapped != count: wrong = wrong or "the mapping has %d instead of %d" % (mapped, count)
    if at != written: wrong = wrong or "the descriptor is at %d instead of %d" % (at, written)
    count += 1
    memory[:8] = struct.pack("Q", count)
    written += os.write(journal, b"%d\\n" % count)
def answer():
    return wrong or "count %d" % count
def flock():
    fcntl.flock(journal, fcntl.LOCK_EX)
    return "locked"
def lockf():
    fcntl.lockf(journal, fcntl.LOCK_SH)
    return "locked"
def unlock():
    fcntl.flock(journal, fcntl.LOCK_UN)
    fcntl.lockf(journal, fcntl.LOCK_UN)
    return "unlocked"
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
commands = client.makefile("rw")
while True:
    step()
    if select.select([client], [], [], 0.005)[0]:
        commands.write({"count": answer, "flock": flock, "lockf": lockf, "unlock": unlock}[commands.readline().strip()]() + "\\n")
        commands.flush()
`;

let gluster: Gluster;
beforeAll(async () => {
  const { lab, source, destination } = stage;
  gluster = await Gluster.start(lab, source, [destination]);
  for (const volume of ["shared", "other"]) await gluster.createVolume(volume);
  for (const node of [source, destination]) await gluster.mount(node, "shared", SHARED);
  await lab.shell(source, 'mkdir -p "$1/bound" "$1/volume"', SHARED);
  for (const node of [source, destination]) {
    const options = ["--opt=type=none", "--opt=o=bind", `--opt=device=${SHARED}/volume`];
    await lab.docker(node, "volume", "create", ...options, VOLUME);
  }
});
afterAll(async () => {
  for (const node of [stage.source, stage.destination]) await stage.lab.docker(node, "volume", "rm", "--force", VOLUME);
  await gluster.stop();
});

/** A writer on the source, and the one connection to it. */
class Writer {
  readonly container: StartedContainer;
  readonly #client: LineConnection;

  private constructor(container: StartedContainer, client: LineConnection) {
    this.container = container;
    this.#client = client;
  }

  static async start(name: string): Promise<Writer> {
    const { lab, source } = stage;
    await lab.shell(source, 'rm -f "$1/bound/journal" "$1/volume/counter"', SHARED);
    const host = stage.address();
    const options = [`--volume=${SHARED}/bound:/data`, `--volume=${VOLUME}:/volume`];
    const command = ["python3", "-c", WRITER];
    const place = { node: source, address: host, name };
    const container = await stage.start({ ...place, image: "debian-tools:latest", options, command });
    const client = await firstConnection(lab, source, container, PORT);
    await knownToCluster(lab, name);
    return new Writer(container, client);
  }

  async ask(request: string): Promise<string> {
    return await this.#client.ask(`${request}\n`);
  }

  async count(): Promise<number> {
    const answer = await this.ask("count");
    const count = /^count (\d+)$/.exec(answer)?.[1];
    if (count === undefined) throw new Error(`the writer says: ${answer}`);
    return Number(count);
  }

  /** Waits until it has counted on by some. */
  async goesOn(): Promise<number> {
    const from = await this.count();
    return await eventually(async () => ((await this.count()) > from + 20 ? this.count() : undefined), {
      what: "the writer counts on",
      deadlineMs: 20_000,
    });
  }

  close(): void {
    this.#client.close();
  }
}

/** The numbers in the journal, as a node sees it. */
async function journalOn(node: string): Promise<number[]> {
  const text = await stage.lab.exec(node, ["cat", `${SHARED}/bound/journal`]);
  return text.split("\n").map(Number);
}

test("a file stays open and a mapping shared, there and back; another host sees every line once", async () => {
  const { lab } = stage;
  const writer = await Writer.start("shares");
  try {
    for (const [from, to] of [
      [stage.source, stage.destination],
      [stage.destination, stage.source],
    ] as const) {
      await writer.goesOn();
      await migrate(lab, writer.container.name, to);
      const count = await writer.goesOn();
      const lines = await eventually(
        async () => {
          const seen = await journalOn(from);
          return seen.length > count ? seen : undefined;
        },
        { what: `${from} sees ${count} lines`, deadlineMs: 20_000 },
      );
      // The last may have been read half.
      const whole = lines.slice(0, -1);
      expect(whole.find((line, index) => line !== index + 1)).toBeUndefined();
      await assertOneCopy(lab, writer.container, to);
    }
    await stage.nothingElseLeft();
  } finally {
    writer.close();
  }
});

describe("preflight refuses", () => {
  /** With exit code 4, this finding alone and a remedy; the writer writes on. */
  async function expectRefused(writer: Writer, code: string, message: RegExp): Promise<void> {
    const { lab, destination } = stage;
    const found = await refusal(lab, writer.container.name, destination);
    expect([...new Set(found.map((finding) => finding.code))]).toEqual([code]);
    expect(found.map((finding) => finding.message)).toContainEqual(expect.stringMatching(message));
    await writer.goesOn();
  }

  test("what lies on the destination's own disk, another volume, and locks, in the switch as well", async () => {
    const { lab, source, destination } = stage;
    const writer = await Writer.start("shares-not");
    try {
      await gluster.unmount(destination, SHARED);
      await lab.shell(destination, 'mkdir -p "$1/bound" "$1/volume"', SHARED);
      await expectRefused(writer, "storage-differs", /fuse\.glusterfs .*:\/shared\/bound .* but overlay /);
      await gluster.mount(destination, "other", SHARED);
      await lab.shell(destination, 'mkdir -p "$1/bound" "$1/volume"', SHARED);
      await expectRefused(writer, "storage-differs", /:\/shared\/bound .* but fuse\.glusterfs .*:\/other\/bound /);
      await gluster.mount(destination, "shared", SHARED);

      for (const kind of ["flock", "lockf"]) {
        expect(await writer.ask(kind)).toBe("locked");
        await expectRefused(writer, "lock-on-shared-mount", /has \/data\/journal open/);
        expect(await writer.ask("unlock")).toBe("unlocked");
      }
      expect((await verdictOn(lab, writer.container.name, destination)).ok).toBe(true);
      await rollsBackIfLockedLate(writer);
      await assertOneCopy(lab, writer.container, source);
    } finally {
      writer.close();
    }
  });

  /** Takes a lock when preflight has been passed. */
  async function rollsBackIfLockedLate(writer: Writer): Promise<void> {
    const { lab, source, destination } = stage;
    const faults = await FaultPoints.open(lab);
    try {
      const point = "source.before-freeze";
      await faults.set(source, [{ point, action: "hang" }]);
      const migration = lab.dray<MigrationDocument>(["migrate", writer.container.name, "--to", destination]);
      await faults.firing(point, 60_000);
      expect(await writer.ask("lockf")).toBe("locked");
      await faults.lift(source);
      const { exitCode, document } = await migration;
      expect(exitCode).toBe(6);
      expect(document).toMatchObject({ outcome: "rolled_back", error: { reason: "PREFLIGHT", phase: "switch" } });
      await writer.goesOn();
    } finally {
      faults.close();
      await faults.clear();
    }
  }
});

/** Processes that were forked from one another, and still share most of what they had then. */
import { expect, test } from "vitest";
import { firstConnection } from "../harness/containers.ts";
import { migrate } from "../harness/migrate.ts";
import { assertOneCopy } from "../harness/one-copy.ts";
import { Stage } from "../e2e/stage.ts";

const stage = new Stage("repeated-pages", ["debian-tools"]);
const PORT = 7100;
const MEGABYTES = 48;
const CHILDREN = 4;

/** All have the noise of the first, and one mebibyte of their own in it. Answers `check` with how many have it right. */
const FAMILY = `
import hashlib, os, socket
noise = bytearray(os.urandom(${MEGABYTES} << 20))
sum_of = lambda: hashlib.sha256(noise).digest()
asking = []
for number in range(${CHILDREN}):
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        noise[number << 20:(number + 1) << 20] = os.urandom(1 << 20)
        right = sum_of()
        theirs.sendall(b"!")
        while theirs.recv(1): theirs.sendall(b"!" if sum_of() == right else b"?")
        os._exit(0)
    theirs.close()
    ours.recv(1)
    asking.append(ours)
right = sum_of()
server = socket.create_server(("", ${PORT}))
client = server.accept()[0]
for line in client.makefile():
    answers = [sum_of() == right]
    for child in asking:
        child.sendall(b"x")
        answers.append(child.recv(1) == b"!")
    client.sendall(b"right %d\\n" % sum(answers))
`;

test.each(["pre-copy", "stop-copy"])(
  "%s: each has what it had, what they share is sent once, and is shared again",
  async (mode) => {
    const { lab } = stage;
    const place = { node: stage.source, address: stage.address() };
    const command = ["python3", "-c", FAMILY];
    const container = await stage.start({ ...place, name: "family", image: "debian-tools:latest", command });
    const client = await firstConnection(lab, stage.source, container, PORT);
    /** What is shared counts once, in parts. */
    const privateBytes = async (node: string) => {
      const all = await lab.docker(node, "exec", container.name, "sh", "-c", "cat /proc/[0-9]*/smaps_rollup");
      return [...all.matchAll(/^Pss_Anon: +(\d+) kB$/gm)].reduce(
        (sum, [, kilobytes]) => sum + Number(kilobytes) * 1024,
        0,
      );
    };
    try {
      expect(await client.ask("check\n")).toBe(`right ${CHILDREN + 1}`);
      const before = await privateBytes(stage.source);
      for (const to of [stage.destination, stage.source]) {
        const { rounds, memory_bytes: memoryBytes } = await migrate(lab, container.name, to, "--mode", mode);
        expect(memoryBytes).toBeGreaterThan((CHILDREN + 1) * MEGABYTES * 2 ** 20);
        // Beside one noise for all, each has its own mebibyte and what its interpreter has written to.
        if (mode === "pre-copy") expect(rounds[0]?.bytes).toBeLessThan(2 * MEGABYTES * 2 ** 20);
        expect(await client.ask("check\n")).toBe(`right ${CHILDREN + 1}`);
        expect(await privateBytes(to)).toBeLessThan(before * 1.5);
        await assertOneCopy(lab, container, to);
      }
      await stage.nothingElseLeft();
    } finally {
      client.close();
    }
  },
);

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runCommand } from "../host/run-command.ts";
import { diagnose } from "./diagnosis.ts";

let directory: string;
/** Stands for the container's cgroup directory. */
let cgroup: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "guarded-criu-"));
  cgroup = join(directory, "cgroup");
  const build = join(import.meta.dirname, "../../runc/build");
  await runCommand([build, join(directory, "drayage-runc")], { deadlineMs: 60_000 });
  await mkdir(join(directory, "guarded"));
  await symlink("../drayage-dump-guard", join(directory, "guarded/criu"));
  // In the place of CRIU, a shell that handles SIGTERM and does what it is told.
  await mkdir(join(directory, "true"));
  await writeFile(join(directory, "true/criu"), `#!/bin/sh\ntrap 'exit 3' TERM\necho here\neval "$SCRIPT"\n`);
  await chmod(join(directory, "true/criu"), 0o755);
  await mkdir(cgroup);
});
afterAll(() => rm(directory, { recursive: true }));

beforeEach(async () => {
  await writeFile(join(cgroup, "cgroup.freeze"), "0");
  await writeFile(join(cgroup, "cgroup.events"), "populated 1\nfrozen 1\n");
});

/** Of enum criu_req_type in CRIU's rpc.proto. */
const DUMP = 1;
const VERSION = 10;
/** As in dump-container.ts. */
const PAGE_SOCKET = 61;

interface Asked {
  /** Environment beside the PATH and the cgroup. */
  readonly wordFrom?: number | undefined;
  /** What stands for CRIU does. */
  readonly script?: string;
  /** What stands for CRIU, in a directory of its own. */
  readonly trueCriu?: string;
  /** The socket for its pages. */
  readonly pageServer?: string;
}

/** As runc asks: on a socket that is CRIU's descriptor 3, with the type of the request in it. */
function ask(
  request: Buffer,
  { wordFrom, script = "", trueCriu = join(directory, "true/criu"), pageServer }: Asked = {},
): ChildProcess {
  const path = `${join(directory, "guarded")}:${dirname(trueCriu)}:${process.env["PATH"] ?? ""}`;
  const pages = pageServer && { DRAYAGE_PAGE_SOCKET: String(PAGE_SOCKET), DRAYAGE_PAGE_SERVER: pageServer };
  const word = wordFrom === undefined ? {} : { DRAYAGE_WORD_FROM: String(wordFrom) };
  const criu = spawn(join(directory, "guarded/criu"), ["swrk", "3"], {
    env: { ...process.env, ...word, ...pages, PATH: path, DRAYAGE_DUMP_CGROUP: cgroup, SCRIPT: script },
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const socket = criu.stdio[3] as Writable;
  socket.on("error", () => undefined);
  socket.write(request);
  return criu;
}

/** Returns when what stands for CRIU has begun a dump. */
async function begin(script: string): Promise<ChildProcess> {
  const child = ask(Buffer.from([0x08, DUMP]), { script });
  await once(child.stdout as NonNullable<ChildProcess["stdout"]>, "data");
  return child;
}

const orderOfFreezer = () => readFile(join(cgroup, "cgroup.freeze"), "utf8");

test("a CRIU that is killed has the cgroup frozen by the time its caller hears of it", async () => {
  const criu = await begin("read line");
  criu.kill("SIGKILL");
  expect(await once(criu, "exit")).toEqual([null, "SIGKILL"]);
  expect(await orderOfFreezer()).toBe("1");
});

test("stopped and killed, the same", async () => {
  const criu = await begin("kill -STOP $$; read line");
  criu.kill("SIGCONT");
  criu.kill("SIGSTOP");
  criu.kill("SIGKILL");
  expect(await once(criu, "exit")).toEqual([null, "SIGKILL"]);
  expect(await orderOfFreezer()).toBe("1");
});

test("one that fails, too; signals that it handles reach it", async () => {
  const criu = await begin("read line");
  criu.kill("SIGTERM");
  expect(await once(criu, "exit")).toEqual([3, null]);
  expect(await orderOfFreezer()).toBe("1");
});

test("one that ends well has done all that there is to do", async () => {
  const criu = await begin("read line");
  criu.stdin?.end("go on\n");
  expect(await once(criu, "exit")).toEqual([0, null]);
  expect(await orderOfFreezer()).toBe("0");
});

/** Stands for the shell of the unit that has the word. */
function holdWord(): ChildProcess {
  return spawn("sleep", ["60"], { stdio: ["pipe", "pipe", "inherit"] });
}

/** All that is said until the end, and how it ends. */
async function ending(criu: ChildProcess): Promise<{ said: string; complaint: string; code: number | null }> {
  let said = "";
  let complaint = "";
  criu.stdout?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  criu.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  const [code] = (await once(criu, "close")) as [number | null];
  return { said, complaint, code };
}

test("a dump waits for the word of the process that it was told of", async () => {
  const holder = holdWord();
  try {
    const criu = ask(Buffer.from([0x08, DUMP]), { wordFrom: holder.pid });
    const ended = ending(criu);
    const [ready] = await once(holder.stdout as NonNullable<ChildProcess["stdout"]>, "data");
    expect(String(ready)).toBe("ready\n");
    expect(criu.exitCode).toBeNull();
    holder.stdin?.write("go\n");
    expect(await ended).toMatchObject({ said: "here\n", code: 0 });
  } finally {
    holder.kill();
  }
});

test("without the word it ends, and nothing has been done", async () => {
  const holder = holdWord();
  try {
    const ended = ending(ask(Buffer.from([0x08, DUMP]), { wordFrom: holder.pid }));
    await once(holder.stdout as NonNullable<ChildProcess["stdout"]>, "data");
    holder.stdin?.end();
    expect(await ended).toMatchObject({ said: "", code: 125 });
    expect(await orderOfFreezer()).toBe("0");
  } finally {
    holder.kill();
  }
});

test("what is no dump waits for nothing, and its failure freezes nothing", async () => {
  const holder = holdWord();
  try {
    const criu = ask(Buffer.from([0x08, VERSION]), { wordFrom: holder.pid, script: "exit 1" });
    expect(await ending(criu)).toMatchObject({ said: "here\n", code: 1 });
    expect(await orderOfFreezer()).toBe("0");
  } finally {
    holder.kill();
  }
});

test("the type is found wherever it stands in the request", async () => {
  // Options (field 2), a field of 4 and one of 8 bytes, then the type.
  const fields = [0x12, 3, 1, 2, 3, 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, DUMP];
  const criu = ask(Buffer.from(fields), { script: "kill -KILL $$" });
  expect(await once(criu, "exit")).toEqual([null, "SIGKILL"]);
  expect(await orderOfFreezer()).toBe("1");
});

test.each([
  ["no type", [0x12, 1, 0]],
  ["a length beyond its end", [0x12, 100]],
  ["a field of no known kind", [0x0b, 0x08, DUMP]],
])("a request with %s does not get to CRIU where the word is wanted", async (_what, fields) => {
  const holder = holdWord();
  try {
    expect(await ending(ask(Buffer.from(fields), { wordFrom: holder.pid }))).toMatchObject({ said: "", code: 125 });
  } finally {
    holder.kill();
  }
});

test("CRIU has its pages' socket until it ends, whatever it does to it", async () => {
  const pageServer = join(directory, "pages.socket");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(pageServer, resolve));
  try {
    // A shell that can name the descriptor.
    const trueCriu = join(directory, "closes/criu");
    await mkdir(dirname(trueCriu));
    const close = `exec ${PAGE_SOCKET}>&-`;
    await writeFile(trueCriu, `#!/bin/bash\necho first >&${PAGE_SOCKET}\n${close}\necho second >&${PAGE_SOCKET}\n`);
    await chmod(trueCriu, 0o755);
    const ended = ending(ask(Buffer.from([0x08, DUMP]), { trueCriu, pageServer }));
    const [connection] = (await once(server, "connection")) as [NodeJS.ReadableStream];
    let brought = "";
    for await (const chunk of connection) brought += String(chunk);
    expect(brought).toBe("first\nsecond\n");
    expect(await ended).toMatchObject({ code: 0, complaint: "" });
  } finally {
    server.close();
  }
});

test("a CRIU that loads no library does not begin a dump that needs one", async () => {
  const trueCriu = join(directory, "static/criu");
  await mkdir(dirname(trueCriu));
  await copyFile(join(directory, "drayage-announce"), trueCriu);
  const pageServer = join(directory, "nobody");
  const { code, complaint } = await ending(ask(Buffer.from([0x08, DUMP]), { trueCriu, pageServer }));
  expect(code).toBe(125);
  expect(diagnose(complaint)?.code).toBe("page_socket");
  expect(await orderOfFreezer()).toBe("0");
});

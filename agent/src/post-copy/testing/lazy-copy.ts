/** A fault server and a copy that needs it, as processes of this machine; see lazy-copy.c. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { runCommand } from "../../host/run-command.ts";
import { FaultServer, type FaultServerEvents } from "../fault-server.ts";
import { PAGE_BYTES } from "../../memory-image/page-range.ts";

export const TASK = 7;

export interface Programs {
  readonly directory: string;
  readonly server: string;
  readonly copy: string;
  readonly store: string;
}

export async function buildPrograms(): Promise<Programs> {
  const directory = await mkdtemp(join(tmpdir(), "fault-server-"));
  const server = join(directory, "drayage-fault-server");
  const copy = join(directory, "lazy-copy");
  await runCommand([join(import.meta.dirname, "../../../fault-server/build"), server], { deadlineMs: 60_000 });
  const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"];
  const store = join(directory, "descriptor-store");
  for (const program of [copy, store]) {
    const source = join(import.meta.dirname, `${basename(program)}.c`);
    await runCommand(["gcc", ...flags, "-o", program, source], { deadlineMs: 60_000 });
  }
  return { directory, server, copy, store };
}

/** Content that differs in every page, and is a function of its address alone. */
export function content(start: number, pages: number): Buffer {
  const words = new Uint32Array((pages * PAGE_BYTES) / 4);
  for (let page = 0; page < pages; page++) {
    const number = start / PAGE_BYTES + page;
    let word = (number ^ 0x9e3779b9) >>> 0 || 1;
    for (let at = 0; at < PAGE_BYTES / 4; at++) {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
      words[page * (PAGE_BYTES / 4) + at] = word;
    }
  }
  return Buffer.from(words.buffer);
}

export const crcOf = (...parts: readonly Uint8Array[]): string => crc32(Buffer.concat(parts)).toString(16);
export const zeros = (pages: number): Buffer => Buffer.alloc(pages * PAGE_BYTES);

class Copy {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers = new Map<string, { resolve: (text: string) => void; reject: (error: Error) => void }>();
  readonly #early = new Map<string, string>();
  #last = 0;

  constructor(program: string, socket: string) {
    this.#child = spawn(program, [socket], { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const [id = "", ...rest] = line.split(" ");
      const waiting = this.#answers.get(id);
      if (waiting === undefined) this.#early.set(id, rest.join(" "));
      else waiting.resolve(rest.join(" "));
    });
    this.#child.once("close", () => {
      for (const { reject } of this.#answers.values()) reject(new Error("the copy has ended"));
    });
  }

  /** All numbers go as hexadecimal. */
  order(name: string, ...args: readonly number[]): Promise<string> {
    return this.#order(`${++this.#last}`, name, args);
  }

  /** In a thread of its own: what waits for memory holds up nothing else. */
  inThread(name: string, ...args: readonly number[]): Promise<string> {
    return this.#order(`${++this.#last}&`, name, args);
  }

  async address(name: string, ...args: readonly number[]): Promise<number> {
    return Number.parseInt(await this.order(name, ...args), 16);
  }

  /** The child's answer to come. */
  async fork(start: number, pages: number): Promise<{ child: Promise<string> }> {
    const id = `${++this.#last}`;
    const child = this.#answer(`${id}.child`);
    await this.#order(id, "fork", [start, pages]);
    return { child };
  }

  #order(id: string, name: string, args: readonly number[]): Promise<string> {
    const answer = this.#answer(id);
    this.#child.stdin.write(`${[id, name, ...args.map((arg) => arg.toString(16))].join(" ")}\n`);
    return answer;
  }

  #answer(id: string): Promise<string> {
    const early = this.#early.get(id);
    if (early !== undefined) return Promise.resolve(early);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#answers.set(id, { resolve, reject });
    promise.catch(() => undefined);
    return promise;
  }

  /** Where each of its threads waits in the kernel. */
  async waits(): Promise<string[]> {
    const tasks = `/proc/${this.#child.pid}/task`;
    return await Promise.all((await readdir(tasks)).map((task) => readFile(`${tasks}/${task}/wchan`, "utf8")));
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

export class Stage implements AsyncDisposable {
  readonly directory: string;
  readonly copy: Copy;
  readonly controlSocket: string;
  readonly server: ChildProcessByStdio<null, null, Readable>;
  readonly serverEnded: Promise<number | null>;
  readonly #start: () => ChildProcessByStdio<null, null, Readable>;
  agent: FaultServer;
  serverSaid = "";

  private constructor(directory: string, programs: Programs, start: () => ChildProcessByStdio<null, null, Readable>) {
    const server = start();
    this.#start = start;
    this.directory = directory;
    this.controlSocket = join(directory, "control");
    this.server = server;
    this.serverEnded = once(server, "exit").then(([code]) => code as number | null);
    server.stderr.on("data", (chunk: Buffer) => {
      this.serverSaid += chunk.toString();
    });
    this.copy = new Copy(programs.copy, join(directory, "lazy-pages.socket"));
    this.agent = undefined as never;
  }

  /** With a socket for its notifications it has a service manager. */
  static async open(programs: Programs, events: FaultServerEvents = {}, notifySocket = ""): Promise<Stage> {
    const directory = await mkdtemp(join(programs.directory, "stage-"));
    await writeFile(join(directory, "cgroup.freeze"), "0");
    await writeFile(join(directory, "cgroup.events"), "populated 1\nfrozen 1\n");
    await writeFile(join(directory, "control.begin"), "");
    const argv = [join(directory, "lazy-pages.socket"), join(directory, "control"), directory];
    const env = { ...process.env, NOTIFY_SOCKET: notifySocket };
    const start = () => spawn(programs.server, argv, { stdio: ["ignore", "ignore", "pipe"], env });
    const stage = new Stage(directory, programs, start);
    await runCommand(["sh", "-c", 'until [ -S "$1" ]; do :; done', "sh", join(directory, "control")]);
    stage.agent = await stage.attach(events);
    return stage;
  }

  attach(events: FaultServerEvents = {}): Promise<FaultServer> {
    return FaultServer.attach({ migrationId: "0123456789ab", controlSocket: this.controlSocket, events });
  }

  /** As a service manager does it when it was killed. Resolves with its exit code. */
  async startAgain(): Promise<number | null> {
    const [code] = await once(this.#start(), "exit");
    return code as number | null;
  }

  /** The processes in its cgroup are dead, as the kernel tells of it. */
  async empty(): Promise<void> {
    await this.copy.kill();
    await writeFile(join(this.directory, "cgroup.events"), "populated 0\nfrozen 1\n");
  }

  /** Memory of the copy, all of it missing, and the restore finished. */
  async restore(pages: number): Promise<number> {
    const start = await this.copy.address("map", pages);
    await this.agent.ranges(TASK, [{ start, pages }]);
    await this.agent.listen();
    await this.copy.order("hand-over", TASK);
    await this.copy.order("finish");
    await this.agent.restored;
    return start;
  }

  /** Sends these pages of the image. */
  async send(start: number, pages: number, urgent = false): Promise<void> {
    for (let at = 0; at < pages; at += 256) {
      const some = Math.min(256, pages - at);
      const from = start + at * PAGE_BYTES;
      if (!(await this.agent.pages(TASK, from, content(from, some), urgent)))
        throw new Error("the connection was lost");
    }
  }

  /** The processes of the server: the keeper first. */
  async serverPids(): Promise<number[]> {
    const { stdout } = await runCommand(["pgrep", "-f", this.controlSocket], { okCodes: [0, 1] });
    const pids = stdout.split("\n").filter(Boolean).map(Number);
    return pids.filter((pid) => pid !== process.pid);
  }

  async frozen(): Promise<boolean> {
    return (await readFile(join(this.directory, "cgroup.freeze"), "utf8")) === "1";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agent.close();
    await this.empty();
    // Without anything to lose it ends by itself, whichever of its processes are left.
    while ((await this.serverPids()).length > 0) {
      await runCommand(["pkill", "-TERM", "-f", this.controlSocket], { okCodes: [0, 1] });
      await delay(50);
    }
    await rm(this.directory, { recursive: true });
  }
}

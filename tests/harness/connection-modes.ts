/** The modes of a process's TCP connections, and a CRIU that is stopped while they are in repair mode. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { run } from "../../deploy/lab/src/host/run.ts";

const SOURCE = join(import.meta.dirname, "../fixtures/connection-modes/connection-modes.c");
const COMPILE = ["gcc", "-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-Werror"];

export interface ConnectionMode {
  readonly inRepair: boolean;
  readonly reusesAddress: boolean;
}

/** Of processes by their pids on this host. */
export class ConnectionModes {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async build(): Promise<ConnectionModes> {
    const modes = new ConnectionModes(await mkdtemp(join(tmpdir(), "connection-modes-")));
    await run([...COMPILE, "-o", modes.#program, SOURCE]);
    return modes;
  }

  async close(): Promise<void> {
    await rm(this.#directory, { recursive: true });
  }

  async of(pid: number): Promise<ConnectionMode[]> {
    const lines = (await run([this.#program, `${pid}`])).trim().split("\n");
    return lines
      .filter((line) => line !== "")
      .map((line) => {
        const [repair, reuse] = line.split(" ");
        return { inRepair: repair === "1", reusesAddress: reuse === "1" };
      });
  }

  /**
   * Waits, from the moment on at which the first promise resolves, until a connection of the process is in repair
   * mode, and stops the CRIU that holds it. The second promise resolves to that CRIU's pid when both is verified.
   */
  async stopInRepair(pid: number, limitMs: number): Promise<{ readonly stopped: Promise<number> }> {
    const child = spawn(this.#program, [`${pid}`, `${limitMs}`], { stdio: ["ignore", "pipe", "pipe"] });
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const said = createInterface(child.stderr)[Symbol.asyncIterator]();
    const ended = once(child, "close");
    const demand = async (word: string): Promise<string> => {
      const { value } = (await lines.next()) as { value?: string };
      if (value?.startsWith(word) === true) return value.slice(word.length);
      const { value: reason } = (await said.next()) as { value?: string };
      throw new Error(reason ?? `connection-modes said ${value ?? "nothing"}`);
    };
    await demand("watching");
    const stopped = demand("stopped ").then(async (criu) => {
      await ended;
      return Number(criu);
    });
    stopped.catch(() => undefined);
    return { stopped };
  }

  get #program(): string {
    return join(this.#directory, "connection-modes");
  }
}

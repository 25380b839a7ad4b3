/** A program that plays systemd for a fault server, as far as it holds descriptors for it; see descriptor-store.c. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Programs } from "./lazy-copy.ts";

let last = 0;

export class DescriptorStore implements AsyncDisposable {
  readonly socket: string;
  readonly #child: ChildProcess;
  #held = 0;
  #most = 0;
  #changed = Promise.withResolvers<void>();

  private constructor(child: ChildProcess, socket: string) {
    this.#child = child;
    this.socket = socket;
  }

  static async open(programs: Programs): Promise<DescriptorStore> {
    const socket = `${programs.directory}/notify-${++last}`;
    const child = spawn(programs.store, [socket], { stdio: ["ignore", "pipe", "inherit"] });
    const store = new DescriptorStore(child, socket);
    const lines = createInterface({ input: child.stdout });
    const first = once(lines, "line");
    lines.on("line", (line) => store.#take(Number(line)));
    await first;
    return store;
  }

  /** How many descriptors it holds. */
  get held(): number {
    return this.#held;
  }

  /** How many it has held at most. */
  get most(): number {
    return this.#most;
  }

  async holds(count: number): Promise<void> {
    while (this.#held !== count) await this.#changed.promise;
  }

  /** It does nothing from now on. */
  stop(): void {
    this.#child.kill("SIGSTOP");
  }

  goOn(): void {
    this.#child.kill("SIGCONT");
  }

  /** Lets go of everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
    await rm(this.socket);
  }

  #take(held: number): void {
    this.#held = held;
    this.#most = Math.max(this.#most, held);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

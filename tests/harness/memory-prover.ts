/** The memory-proving program: built, packed into an image from scratch, and talked to. */
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../deploy/lab/src/host/run.ts";
import { eventually } from "./eventually.ts";
import { LineConnection } from "./line-connection.ts";
import type { TestLab } from "./test-lab.ts";

export const PROVER_IMAGE = "memory-prover:latest";
export const PROVER_PORT = 7000;

const LISTEN_DEADLINE_MS = 60_000;
const SOURCE = join(import.meta.dirname, "../fixtures/memory-prover/memory-prover.c");
const COMPILE = ["gcc", "-std=gnu11", "-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror"];

/** Compiles into `directory`, once per directory; gives the program's path. */
export async function buildProver(directory: string): Promise<string> {
  const program = join(directory, "memory-prover");
  const present = await stat(program).catch(() => undefined);
  if (present !== undefined && present.mtimeMs > (await stat(SOURCE)).mtimeMs) return program;
  await mkdir(directory, { recursive: true });
  await run([...COMPILE, "-o", `${program}.new`, SOURCE]);
  await rename(`${program}.new`, program);
  return program;
}

/** Makes the image in the given nodes. It has the program, /data and nothing else. */
export async function importProver(lab: TestLab, nodes: readonly string[]): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "memory-prover-"));
  try {
    const tree = join(directory, "tree");
    await buildProver(tree);
    await mkdir(join(tree, "data"));
    const archive = join(directory, "image.tar");
    await run([
      "tar",
      "--create",
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      `--file=${archive}`,
      `--directory=${tree}`,
      ".",
    ]);
    const changes = ["--change", 'ENTRYPOINT ["/memory-prover"]', "--change", `EXPOSE ${PROVER_PORT}`];
    for (const node of nodes) {
      await lab.exec(node, ["docker", "import", ...changes, "-", PROVER_IMAGE], { stdin: createReadStream(archive) });
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Talks to a prover on one connection that must never break. */
export class Prover {
  readonly connection: LineConnection;

  private constructor(connection: LineConnection) {
    this.connection = connection;
  }

  /** Waits until it listens, which it does when it has filled its memory. */
  static async open(host: string, port = PROVER_PORT): Promise<Prover> {
    const what = `the prover at ${host}:${port} listens`;
    const open = () => LineConnection.open({ host, port });
    return new Prover(await eventually(open, { what, deadlineMs: LISTEN_DEADLINE_MS, everyMs: 50 }));
  }

  /** Checks every byte. Throws, naming the first wrong one, or what else is not as it was. */
  async check(): Promise<number> {
    const answer = await this.connection.ask("check\n");
    const bytes = /^ok pages=\d+ bytes=(\d+)$/.exec(answer)?.[1];
    if (bytes === undefined) throw new Error(`memory-prover: ${answer}`);
    return Number(bytes);
  }

  /** As its processes see them. `check` throws if one of them has ever gone back. */
  async clocks(): Promise<{ readonly monotonicMs: number; readonly boottimeMs: number }> {
    const answer = await this.connection.ask("clocks\n");
    const [, monotonic, boottime] = /^clocks monotonic_ns=(\d+) boottime_ns=(\d+)$/.exec(answer) ?? [];
    if (monotonic === undefined || boottime === undefined) throw new Error(`memory-prover: clocks: ${answer}`);
    return { monotonicMs: Number(monotonic) / 1e6, boottimeMs: Number(boottime) / 1e6 };
  }

  async dirty(pagesPerSecond: number): Promise<void> {
    await this.#demand(`dirty ${pagesPerSecond}`);
  }

  /** Waits until `dirty` has rewritten so many pages more. */
  async rewritten(pages: number): Promise<void> {
    const written = async () => {
      const answer = await this.connection.ask("info\n");
      const number = / written=(\d+) /.exec(answer)?.[1];
      if (number === undefined) throw new Error(`memory-prover: info: ${answer}`);
      return Number(number);
    };
    const before = await written();
    await eventually(async () => ((await written()) >= before + pages ? true : undefined), {
      what: `the prover has rewritten ${pages} pages`,
      deadlineMs: LISTEN_DEADLINE_MS,
    });
  }

  async openFiles(deletedMegabytes = 1): Promise<void> {
    await this.#demand(`files ${deletedMegabytes}`);
  }

  /** Memory that `rotate` can move about. */
  async makeTables(): Promise<void> {
    await this.#demand("tables");
  }

  /** Moves memory, whole page tables at a time: it changes at its addresses without being written to. */
  async rotateTables(): Promise<void> {
    await this.#demand("rotate");
  }

  async corrupt(): Promise<void> {
    await this.#demand("corrupt");
  }

  async repair(): Promise<void> {
    await this.#demand("repair");
  }

  close(): void {
    this.connection.close();
  }

  async #demand(line: string): Promise<void> {
    const answer = await this.connection.ask(`${line}\n`);
    if (!answer.startsWith("ok")) throw new Error(`memory-prover: ${line}: ${answer}`);
  }
}

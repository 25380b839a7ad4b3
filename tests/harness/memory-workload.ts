/** Programs that use memory in every way (tests/fixtures/memory-workloads), each in a container, and talked to. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type StartedContainer, firstConnection } from "./containers.ts";
import { eventually } from "./eventually.ts";
import type { LineConnection } from "./line-connection.ts";
import type { TestLab } from "./test-lab.ts";

/** What each does, and what it counts while it checks all of its memory once, or as good as all. */
const KINDS = {
  sparse: { onePass: 4096, does: "8 GiB reserved with pages here and there, checked and rewritten by 100 threads" },
  shared: { onePass: 100, does: "50 processes that share memory" },
  forks: { onePass: 50, does: "a storm of forks" },
  mappings: {
    onePass: 20,
    does: "mappings that are made, moved and unmapped all the time, beside memory that cannot be read",
  },
  ending: { onePass: 40, does: "processes that end between two rounds" },
  huge: { onePass: 500, does: "transparent huge pages, some of them given back" },
} as const;
export type WorkloadKind = keyof typeof KINDS;
export const WORKLOADS = (Object.keys(KINDS) as WorkloadKind[]).map((kind) => ({ kind, does: KINDS[kind].does }));

/** What the sparse one has in use, unless it is said. */
const MEGABYTES = 64;

const PORT = 7200;
/** Its text. */
export const PROGRAM = readFileSync(
  join(import.meta.dirname, "../fixtures/memory-workloads/memory-workloads.py"),
  "utf8",
);
const PASS_DEADLINE_MS = 60_000;

/** What `startContainer` needs besides node, name and address. */
export function workloadOptions(kind: WorkloadKind, megabytes = MEGABYTES) {
  return { image: "debian-tools:latest", command: ["python3", "-c", PROGRAM, kind, String(megabytes)] };
}

/** A connection to one that must never break. */
export class Workload {
  readonly #kind: WorkloadKind;
  readonly #client: LineConnection;

  private constructor(kind: WorkloadKind, client: LineConnection) {
    this.#kind = kind;
    this.#client = client;
  }

  static async open(lab: TestLab, node: string, container: StartedContainer, kind: WorkloadKind): Promise<Workload> {
    return new Workload(kind, await firstConnection(lab, node, container, PORT));
  }

  /** Returns when all that it checks, it has checked again. Throws if anything was wrong. */
  async works(deadlineMs = PASS_DEADLINE_MS): Promise<void> {
    const moreThan = (await this.#count()) + KINDS[this.#kind].onePass;
    await eventually(async () => ((await this.#count()) > moreThan ? true : undefined), {
      what: `${this.#kind} goes on`,
      deadlineMs,
    });
  }

  close(): void {
    this.#client.close();
  }

  async #count(): Promise<number> {
    const answer = await this.#client.ask("count\n");
    const count = /^ok (\d+)$/.exec(answer)?.[1];
    if (count === undefined) throw new Error(`${this.#kind}: ${answer}`);
    return Number(count);
  }
}

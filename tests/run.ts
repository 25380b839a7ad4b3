/**
 * Runs the tests and ends with one plain line, `N passed, N failed`, alone and last on stdout; everything else goes to
 * stderr, and last there what failed.
 *
 * usage: tests/run [all | unit | integration | e2e | vm | bench] [--suite forky|trixie] [--keep] [-- vitest arguments]
 *
 *   unit         pure logic and loopback; milliseconds each
 *   integration  real etcd, mounts, processes of this host
 *   e2e          one lab of three nodes per suite, forky then trixie; of both together, tests/memory on the first alone
 *   all          those three (the default)
 *   vm           one lab of two virtual machines, trixie; slow, their processors are emulated
 *   bench        all benchmarks of tests/bench; writes their results to dist/bench
 *
 * --keep leaves the lab of the e2e part up, and uses it again the next time.
 */
import { parseArgs } from "node:util";
import { installMissing, type Requirement } from "../deploy/lab/src/host/requirements.ts";
import { createProgress } from "../deploy/lab/src/progress.ts";
import type { Suite } from "./harness/test-lab.ts";
import { runBenchmarks } from "./runner/bench-part.ts";
import { withLab, withoutStrayLabs } from "./runner/lab-part.ts";
import { add, closingLine, failureLines, failureOf, NOTHING, type Tally } from "./runner/tally.ts";
import { runVitest } from "./runner/vitest-part.ts";

const PARTS = ["unit", "integration", "e2e", "vm", "bench"] as const;
type Part = (typeof PARTS)[number];
const SUITES: readonly Suite[] = ["forky", "trixie"];
const BENCH_LAB = "benchmark";
const VM_LAB = "vm-test";
const OWN_CONFIG = "tests/vitest.config.ts";
/** All but tests/memory: how the agent reads and sends memory is the same on both. `--suite trixie` runs it there. */
const ON_EVERY_SUITE = ["tests/agent/", "tests/e2e/", "tests/faults/"];

/** Builds the agent's addon, and small programs of tests. */
const COMPILER: readonly Requirement[] = [
  { needs: "gcc", package: "gcc", why: "builds the agent's native parts" },
  { needs: "/usr/include/stdlib.h", package: "libc6-dev", why: "builds the agent's native parts" },
];

/** What integration tests need of the host beyond what a lab needs. */
const REQUIREMENTS: readonly Requirement[] = [
  ...COMPILER,
  { needs: "etcd", package: "etcd-server", why: "integration tests use a real etcd" },
  { needs: "python3", package: "python3", why: "integration tests compare trees of files" },
];

interface Options {
  readonly suites: readonly Suite[];
  readonly keep: boolean;
  readonly more: readonly string[];
  readonly signal: AbortSignal;
}

const RUN: Readonly<Record<Part, (options: Options) => Promise<Tally>>> = {
  async unit({ more, signal }) {
    await installMissing(createProgress(), signal, COMPILER);
    const product = await runVitest({ part: "unit", project: "unit", more }, signal);
    return add(product, await runVitest({ part: "unit", project: "harness", config: OWN_CONFIG, more }, signal));
  },
  async integration({ more, signal }) {
    await installMissing(createProgress(), signal, REQUIREMENTS);
    return await withoutStrayLabs(() => runVitest({ part: "integration", project: "integration", more }, signal));
  },
  async e2e({ suites, keep, more, signal }) {
    let tally = NOTHING;
    for (const [index, suite] of suites.entries()) {
      const name = `e2e-${suite}`;
      const environment = { DRAYAGE_LAB: name };
      const part = `e2e ${suite}`;
      const isRepetition = index > 0 && more.length === 0 && process.env["DRAYAGE_FAULTS"] !== "all";
      const files = isRepetition ? ON_EVERY_SUITE : more;
      const vitest = { part, project: "e2e", config: OWN_CONFIG, more: files, environment };
      tally = add(
        tally,
        await timed(
          part,
          () =>
            withLab({ name, suite, kind: "container", nodes: 3, faults: true, keep }, signal, () =>
              runVitest(vitest, signal),
            ),
          signal,
        ),
      );
    }
    return tally;
  },
  async vm({ suites, keep, more, signal }) {
    const suite = suites.length === 1 && suites[0] !== undefined ? suites[0] : "trixie";
    const lab = { name: VM_LAB, suite, kind: "vm", nodes: 2, faults: false, keep } as const;
    const vitest = { part: "vm", project: "vm", config: OWN_CONFIG, more, environment: { DRAYAGE_LAB: VM_LAB } };
    return await withLab(lab, signal, () => runVitest(vitest, signal));
  },
  async bench({ keep, signal }) {
    const lab = { name: BENCH_LAB, suite: "forky", kind: "container", nodes: 3, faults: false, keep } as const;
    return await withLab(lab, signal, () => runBenchmarks(BENCH_LAB, signal));
  },
};

const times: string[] = [];

/** A part that throws is one failure, and the next part still runs; an interruption ends everything. */
async function timed(what: string, part: () => Promise<Tally>, signal: AbortSignal): Promise<Tally> {
  const startedAt = performance.now();
  try {
    return await part();
  } catch (error) {
    signal.throwIfAborted();
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`tests: ${what}: ${message}\n`);
    return failureOf(what, message);
  } finally {
    times.push(`${what} ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
  }
}

/** Null where the arguments are wrong, or help is asked for. */
function parseArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { suite: { type: "string" }, keep: { type: "boolean", default: false } },
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`tests: ${error.message}\n`);
    return null;
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parseArguments() ?? {
    values: { suite: undefined, keep: false },
    positionals: ["help"],
  };
  const [asked = "all", ...more] = positionals;
  const parts: readonly Part[] =
    asked === "all" ? ["unit", "integration", "e2e"] : PARTS.filter((part) => part === asked);
  const suites = SUITES.filter((suite) => values.suite === undefined || suite === values.suite);
  if (parts.length === 0 || suites.length === 0) {
    process.stderr.write(
      `usage: tests/run [all | ${PARTS.join(" | ")}] [--suite ${SUITES.join("|")}] [--keep] [-- vitest arguments]\n`,
    );
    return 2;
  }
  const interruption = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      process.stderr.write("tests: interrupted; cleaning up\n");
      interruption.abort();
    });
  }
  const options: Options = { suites, keep: values.keep, more, signal: interruption.signal };
  let tally = NOTHING;
  try {
    for (const part of parts) {
      tally = add(
        tally,
        part === "e2e" ? await RUN.e2e(options) : await timed(part, () => RUN[part](options), options.signal),
      );
      interruption.signal.throwIfAborted();
    }
  } catch (error) {
    if (!interruption.signal.aborted) throw error;
    return 130;
  }
  process.stderr.write(`tests: ${times.join(", ")}${tally.skipped > 0 ? `; ${tally.skipped} skipped` : ""}\n`);
  for (const line of failureLines(tally)) process.stderr.write(`${line}\n`);
  process.stdout.write(`${closingLine(tally)}\n`);
  return tally.failures.length === 0 && tally.passed > 0 ? 0 : 1;
}

process.exitCode = await main();

/** Runs the benchmarks as children and judges them by what they were to reach. */
import { join } from "node:path";
import { run } from "../../deploy/lab/src/host/run.ts";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import type { Tally } from "./tally.ts";

const BENCHMARKS: readonly (readonly [string, ...string[]])[] = [
  ["page-path.ts"],
  ["page-path.ts", "--content", "half"],
  ["exec.ts"],
  ["downtime.ts"],
  ["link.ts"],
  ["tmpfs.ts"],
  ["application.ts"],
  ["memory.ts"],
];
const BENCH_DEADLINE_MS = 3 * 3600_000;

export async function runBenchmarks(lab: string, signal: AbortSignal): Promise<Tally> {
  const directory = join(REPOSITORY, "dist/bench");
  const checks: [string, boolean][] = [];

  for (const [name, ...args] of BENCHMARKS) {
    const needsLab = !name.startsWith("page-path");
    const place = [...(needsLab ? ["--lab", lab] : []), "--output", directory];
    const { goals } = JSON.parse(await script(name, [...args, ...place], signal)) as {
      goals: readonly { readonly what: string; readonly reached: boolean }[];
    };
    checks.push(...goals.map(({ what, reached }): [string, boolean] => [what, reached]));
  }

  for (const [what, reached] of checks) process.stderr.write(`${reached ? "reached" : "MISSED "}  ${what}\n`);
  return {
    passed: checks.filter(([, reached]) => reached).length,
    skipped: 0,
    failures: checks
      .filter(([, reached]) => !reached)
      .map(([what]) => ({ part: "bench", file: "", name: what, message: "" })),
  };
}

async function script(name: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  return await run([process.execPath, join(import.meta.dirname, "../bench", name), ...args], {
    signal,
    label: name,
    deadlineMs: BENCH_DEADLINE_MS,
    onStderrLine: (line) => process.stderr.write(`${line}\n`),
  });
}

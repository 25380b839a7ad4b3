/** Runs the benchmarks as children and judges them by what they were to reach. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../deploy/lab/src/host/run.ts";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import type { Tally } from "./tally.ts";

/** Least share of a raw TLS socket's speed. */
const PAGE_PATH_RATIO_MIN = 0.6;
const BENCH_DEADLINE_MS = 3 * 3600_000;

export async function runBenchmarks(lab: string, signal: AbortSignal): Promise<Tally> {
  const directory = join(REPOSITORY, "dist/bench");
  await mkdir(directory, { recursive: true });
  const checks: [string, boolean][] = [];

  const pagePath = JSON.parse(await script("page-path.ts", ["--json"], signal)) as { ratio: Record<string, number> };
  await writeFile(join(directory, "page-path.json"), `${JSON.stringify(pagePath, null, 2)}\n`);
  const ratio = pagePath.ratio["page"] ?? 0;
  checks.push([
    `page path at ${(100 * ratio).toFixed(0)} % of a raw TLS socket, at least ${100 * PAGE_PATH_RATIO_MIN} % wanted`,
    ratio >= PAGE_PATH_RATIO_MIN,
  ]);

  for (const name of ["exec.ts", "downtime.ts", "link.ts"]) {
    const { goals } = JSON.parse(await script(name, ["--lab", lab, "--output", directory], signal)) as {
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

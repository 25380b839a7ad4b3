/** Runs vitest as a child and counts what it reports. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";
import { REPORT_VARIABLE } from "./reporter.ts";
import { type Report, type Tally, tallyOf } from "./tally.ts";

export interface VitestPart {
  /** How failures name the part. */
  readonly part: string;
  readonly project: string;
  /** Configuration file, relative to the repository; its own at the root if not given. */
  readonly config?: string;
  /** Further arguments of vitest: file filters, `-t`. */
  readonly more?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

/** How long vitest has to clean up after itself when interrupted. */
const FAREWELL_MS = 30_000;

export async function runVitest(part: VitestPart, signal: AbortSignal): Promise<Tally> {
  const directory = await mkdtemp(join(tmpdir(), "drayage-tests-"));
  try {
    const reportFile = join(directory, "report.json");
    const argv = [
      join(REPOSITORY, "node_modules/vitest/vitest.mjs"),
      ...["run", "--project", part.project, ...(part.config === undefined ? [] : ["--config", part.config])],
      ...["--reporter=default", `--reporter=${join(import.meta.dirname, "reporter.ts")}`],
      // What was asked for may be in another project.
      ...(part.more === undefined || part.more.length === 0 ? [] : ["--passWithNoTests", ...part.more]),
    ];
    const exitCode = await run(argv, { ...process.env, ...part.environment, [REPORT_VARIABLE]: reportFile }, signal);
    return tallyOf(part.part, await readReport(reportFile), exitCode);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function run(argv: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted();
  // Our stdout ends in one plain line; the tests' own reports go where progress goes.
  const child = spawn(process.execPath, argv, {
    cwd: REPOSITORY,
    env,
    stdio: ["ignore", process.stderr, "inherit"],
    detached: true,
  });
  let farewell: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill("SIGINT");
    farewell = setTimeout(() => child.kill("SIGKILL"), FAREWELL_MS);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve(code ?? 1));
    });
  } finally {
    clearTimeout(farewell);
    signal.removeEventListener("abort", stop);
  }
}

async function readReport(path: string): Promise<Report | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Report;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

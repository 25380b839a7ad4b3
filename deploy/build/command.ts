/** Runs the tools that the build needs, and says what to install when one is missing. */
import { spawnSync } from "node:child_process";

export class BuildError extends Error {
  readonly remedy: string;

  constructor(message: string, remedy: string) {
    super(message);
    this.name = "BuildError";
    this.remedy = remedy;
  }
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What to do when the tool is missing. */
  readonly remedy: string;
}

/** Runs a tool to its end and gives its standard output; throws BuildError when it is missing or fails. */
export function runTool(command: string, args: readonly string[], options: CommandOptions): string {
  const result = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error) {
    const missing = "code" in result.error && result.error.code === "ENOENT";
    throw new BuildError(
      missing ? `${command} is not installed` : `${command}: ${result.error.message}`,
      options.remedy,
    );
  }
  if (result.status !== 0) {
    const end = result.status === null ? `was killed by ${result.signal}` : `exited with ${result.status}`;
    throw new BuildError(`${[command, ...args].join(" ")} ${end}:\n${result.stderr.trim()}`, "See the output above.");
  }
  return result.stdout;
}

/** The Docker daemon of this host, as far as its configuration file goes. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { isJsonObject, parseDaemonJson } from "./daemon-json.ts";

const run = promisify(execFile);

const COMMAND_TIMEOUT_MS = 20_000;
const RELOAD_TIMEOUT_MS = 10_000;
const RELOAD_POLL_MS = 50;
const DEFAULT_CONFIG_FILE = "/etc/docker/daemon.json";
const DEFAULT_DATA_ROOT = "/var/lib/docker";
const DEFAULT_SOCKET = "/var/run/docker.sock";

/** Flags that dockerd was started with, without the program; null if systemd does not run it now. */
export async function runningFlags(): Promise<string[] | null> {
  let pid: number;
  try {
    const { stdout } = await run("systemctl", ["show", "--property=MainPID", "--value", "docker.service"], {
      timeout: COMMAND_TIMEOUT_MS,
    });
    pid = Number(stdout.trim());
  } catch {
    // No systemd, or no such unit: then nothing is there to be reloaded.
    return null;
  }
  if (!(pid > 0)) return null;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const flags = commandLine.split("\0").slice(1, -1);
  return commandLine === "" ? null : flags;
}

/** The file that dockerd reads, by its flags. */
export function configFile(flags: readonly string[]): string {
  return flagValue(flags, "--config-file") ?? DEFAULT_CONFIG_FILE;
}

/** Asks dockerd whether it would start with `file` and its present flags. Throws BAD_CONFIG with its answer. */
export async function validate(file: string, flags: readonly string[]): Promise<void> {
  const others = withoutFlag(flags, "--config-file");
  try {
    await run("dockerd", ["--validate", ...others, "--config-file", file], { timeout: COMMAND_TIMEOUT_MS });
  } catch (cause) {
    const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr).trim() : String(cause);
    throw new DrayError("BAD_CONFIG", `dockerd refuses the configuration with the runtime in it: ${said}`, {
      remedy: "Nothing was changed. Correct what dockerd names, then run `drayage docker-runtime add`.",
      cause,
    });
  }
}

/** What a running dockerd says of its runtimes. */
export interface DockerRuntimes {
  readonly runtimes: Readonly<Record<string, unknown>>;
  readonly defaultRuntime: string;
}

/** Makes a running dockerd read its file again, and waits until `settled` holds. */
export async function reload(settled: (now: DockerRuntimes) => boolean): Promise<void> {
  await run("systemctl", ["reload", "docker.service"], { timeout: COMMAND_TIMEOUT_MS });
  const deadline = performance.now() + RELOAD_TIMEOUT_MS;
  while (!settled(await dockerRuntimes())) {
    if (performance.now() > deadline) {
      throw new DrayError("DOCKER_ERROR", "dockerd did not take over its changed configuration", {
        remedy: "See `journalctl -u docker`; restart Docker when it suits you.",
      });
    }
    // dockerd tells nobody when it has reloaded.
    await delay(RELOAD_POLL_MS);
  }
}

/** Where Docker keeps its containers, by its configuration and flags. */
export function containersDirectory(daemonJson: string, flags: readonly string[]): string {
  const configured = parseDaemonJson(daemonJson)["data-root"];
  const root = flagValue(flags, "--data-root") ?? (typeof configured === "string" ? configured : DEFAULT_DATA_ROOT);
  return join(root, "containers");
}

/**
 * Ids of the containers that name the runtime. Read from Docker's files, not
 * from its API: it matters most when Docker does not run.
 */
export async function containersNaming(runtime: string, directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const id of await readdir(directory).catch(missingAsEmpty)) {
    const text = await readFile(join(directory, id, "hostconfig.json"), "utf8").catch(() => null);
    if (text === null) continue;
    const hostConfig: unknown = JSON.parse(text);
    if (isJsonObject(hostConfig) && hostConfig.Runtime === runtime) found.push(id);
  }
  return found;
}

/** runc's path; "/usr/bin/runc" if it is not installed now. */
export async function runcPath(): Promise<string> {
  for (const directory of ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]) {
    const names = await readdir(directory).catch(missingAsEmpty);
    if (names.includes("runc")) return join(directory, "runc");
  }
  return "/usr/bin/runc";
}

export async function dockerRuntimes(): Promise<DockerRuntimes> {
  const info = await new Promise<string>((resolve, reject) => {
    const call = request({ socketPath: DEFAULT_SOCKET, path: "/info", timeout: COMMAND_TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.on("timeout", () => call.destroy(new Error("Docker does not answer")));
    call.end();
  });
  const parsed: unknown = JSON.parse(info);
  if (!isJsonObject(parsed) || !isJsonObject(parsed.Runtimes)) {
    throw new DrayError("DOCKER_ERROR", "Docker's answer to /info names no runtimes");
  }
  return { runtimes: parsed.Runtimes, defaultRuntime: String(parsed.DefaultRuntime) };
}

function flagValue(flags: readonly string[], name: string): string | undefined {
  const joined = flags.findLast((flag) => flag.startsWith(`${name}=`));
  if (joined) return joined.slice(name.length + 1);
  const index = flags.lastIndexOf(name);
  return index < 0 ? undefined : flags[index + 1];
}

function withoutFlag(flags: readonly string[], name: string): string[] {
  return flags.filter((flag, index) => flag !== name && flags[index - 1] !== name && !flag.startsWith(`${name}=`));
}

function missingAsEmpty(error: unknown): string[] {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
  throw error;
}

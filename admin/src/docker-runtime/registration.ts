/**
 * Carries changes of daemon.json out: validated by dockerd before they are
 * written, written atomically, recorded before and read back after.
 */
import { chmod, chown, mkdir, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import {
  explicitly,
  isJsonObject,
  makeDefault,
  parseDaemonJson,
  type Registered,
  RUNTIME_NAME,
  RUNTIME_PATH,
  register,
  type RuntimeState,
  retire,
  undoDefault,
  unregister,
} from "./daemon-json.ts";
import {
  configFile,
  containersDirectory,
  containersNaming,
  type DockerRuntimes,
  dockerRuntimes,
  reload,
  runcPath,
  runningFlags,
  validate,
} from "./docker-daemon.ts";

/**
 * What the package's last script needs when Drayage's programs are gone:
 * `state.json`, and after a retirement `file` (path of daemon.json),
 * `retired.json` (what was left there), `clean.json` (the same without
 * Drayage; absent if the file should go), and `containers` (Docker's folder).
 */
const STATE_DIRECTORY = "/var/lib/drayage/docker-runtime";
const STATE_FILE = join(STATE_DIRECTORY, "state.json");
const HANDOVER = ["file", "retired.json", "clean.json", "containers"];

/** One sentence for the operator about what was done. */
export type Report = string;

export async function addRuntime(): Promise<Report> {
  const daemon = await openDaemonJson();
  const next = register(daemon.text, await readState());
  await apply(daemon, next, RUNTIME_PATH);
  await clearHandover();
  return `Docker's runtime ${RUNTIME_NAME} is ${RUNTIME_PATH} (${daemon.file}).`;
}

/** Takes the runtime away; containers that still name it are given plain runc under that name. */
export async function removeRuntime(): Promise<Report> {
  const state = await readState();
  const daemon = await openDaemonJson();
  if (!state || daemon.text === null) {
    await clearState();
    return "Drayage has nothing in Docker's daemon.json.";
  }
  const containers = containersDirectory(daemon.text, daemon.flags ?? []);
  const users = await containersNaming(RUNTIME_NAME, containers);
  const clean = unregister(daemon.text, state);
  if (users.length === 0) {
    await bring(daemon, clean, null);
    await clearState();
    return `Docker's runtime ${RUNTIME_NAME} is removed (${daemon.file}).`;
  }
  const runc = await runcPath();
  const retired = retire(daemon.text, state, runc);
  await apply(daemon, retired, runc);
  await writeDurably(join(STATE_DIRECTORY, "file"), `${daemon.file}\n`);
  await writeDurably(join(STATE_DIRECTORY, "containers"), `${containers}\n`);
  await writeDurably(join(STATE_DIRECTORY, "retired.json"), retired.text);
  if (clean !== null) await writeDurably(join(STATE_DIRECTORY, "clean.json"), clean);
  const who = users.length === 1 ? "A container names" : `${users.length} containers name`;
  return `${who} the runtime ${RUNTIME_NAME}; it now stands for ${runc}, so that they still start.`;
}

export async function makeRuntimeDefault(): Promise<Report> {
  const { daemon, text, state } = await openRegistered();
  await apply(daemon, makeDefault(text, state), RUNTIME_PATH);
  return `New containers get the runtime ${RUNTIME_NAME} unless they name another.`;
}

export async function undoRuntimeDefault(): Promise<Report> {
  const { daemon, text, state } = await openRegistered();
  await apply(daemon, undoDefault(text, state), RUNTIME_PATH);
  return "Docker's default runtime is again what it was.";
}

interface DaemonJson {
  /** Where it really is, links followed. */
  readonly file: string;
  /** Null if there is none. */
  readonly text: string | null;
  /** Flags of the running dockerd; null if it does not run. */
  readonly flags: readonly string[] | null;
}

async function openDaemonJson(): Promise<DaemonJson> {
  const flags = await runningFlags();
  const named = configFile(flags ?? []);
  const file = await realpath(named).catch(() => named);
  return { file, text: await readIfThere(file), flags };
}

async function openRegistered(): Promise<{ daemon: DaemonJson; text: string; state: RuntimeState }> {
  const state = await readState();
  const daemon = await openDaemonJson();
  if (!state || daemon.text === null) {
    throw new DrayError("NOT_FOUND", `the runtime ${RUNTIME_NAME} is not registered with Docker`, {
      remedy: "Run `drayage docker-runtime add` first.",
    });
  }
  return { daemon, text: daemon.text, state };
}

async function apply(daemon: DaemonJson, next: Registered, path: string): Promise<void> {
  await mkdir(STATE_DIRECTORY, { recursive: true, mode: 0o700 });
  // First: should the rest fail, undoing finds another text than this and takes out only what is there.
  await writeDurably(STATE_FILE, JSON.stringify(next.state, undefined, 2));
  await bring(daemon, next.text, path);
}

/** Brings file and dockerd to `text`; `path` is what the runtime then stands for, null for nothing. */
async function bring(daemon: DaemonJson, text: string | null, path: string | null): Promise<void> {
  let written = daemon.text;
  if (daemon.flags) {
    const explicit = explicitly(text, (await dockerRuntimes()).defaultRuntime);
    if (explicit !== written) await replaceDaemonJson(daemon, explicit);
    written = explicit;
    await reload((now) => isSettled(now, path, parseDaemonJson(explicit)["default-runtime"]));
  }
  if (text === written) return;
  if (text === null) {
    await rm(daemon.file, { force: true });
  } else {
    await replaceDaemonJson(daemon, text);
  }
}

async function replaceDaemonJson(daemon: DaemonJson, text: string): Promise<void> {
  await mkdir(dirname(daemon.file), { recursive: true });
  await writeDurably(daemon.file, text, (candidate) => validate(candidate, daemon.flags ?? []));
}

function isSettled(now: DockerRuntimes, path: string | null, defaultRuntime: unknown): boolean {
  const entry = now.runtimes[RUNTIME_NAME];
  const isRuntime = path === null ? entry === undefined : isJsonObject(entry) && entry.path === path;
  return isRuntime && (defaultRuntime === undefined || now.defaultRuntime === defaultRuntime);
}

/** Replaces a file atomically, with the owner and mode that it had. `accept` may refuse the new one by throwing. */
async function writeDurably(file: string, text: string, accept?: (candidate: string) => Promise<void>): Promise<void> {
  const candidate = `${file}.drayage-new`;
  const before = await stat(file).catch(() => null);
  try {
    const handle = await open(candidate, "w", 0o644);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(candidate, before ? before.mode & 0o7777 : 0o644);
    if (before) await chown(candidate, before.uid, before.gid);
    await accept?.(candidate);
    await rename(candidate, file);
  } finally {
    await rm(candidate, { force: true });
  }
  const directory = await open(dirname(file));
  await directory.sync();
  await directory.close();
}

async function readState(): Promise<RuntimeState | null> {
  const text = await readIfThere(STATE_FILE);
  if (text === null) return null;
  const parsed: unknown = JSON.parse(text);
  if (!isRuntimeState(parsed)) {
    throw new DrayError("INTERNAL", `${STATE_FILE} is damaged`, {
      remedy: `Remove it and take \`runtimes.${RUNTIME_NAME}\` out of Docker's daemon.json by hand if need be.`,
    });
  }
  return parsed;
}

function isRuntimeState(value: unknown): value is RuntimeState {
  return isJsonObject(value) && typeof value.after === "string" && typeof value.madeFile === "boolean";
}

async function clearHandover(): Promise<void> {
  for (const name of HANDOVER) await rm(join(STATE_DIRECTORY, name), { force: true });
}

async function clearState(): Promise<void> {
  await rm(STATE_DIRECTORY, { recursive: true, force: true });
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

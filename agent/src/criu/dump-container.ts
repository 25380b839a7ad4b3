/** The dump of a container through runc and CRIU. */
import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { freezeCgroup, isFrozen } from "../host/cgroup.ts";
import { DOCKER_RUNC_ROOT, runcContainer } from "../host/runc-state.ts";
import type { TransientUnitOptions } from "../host/transient-unit.ts";
import { WaitingUnit } from "../host/waiting-unit.ts";
import { leftOut } from "../tmpfs/external-mount.ts";
import { readCriuLog } from "./criu-log.ts";
import { diagnose } from "./diagnosis.ts";
import { knowsIgnoreCgroups, runcVersion } from "./versions.ts";

export interface DumpOptions {
  /** Docker id, 64 hex digits. The container is paused by Docker when the dump runs. */
  readonly dockerId: string;
  readonly migrationId: string;
  /** Where the images go; created, 0700. */
  readonly imageDirectory: string;
  /** Where dump.log and stats-dump go; created, 0700. */
  readonly workDirectory: string;
  /** Default /run/docker/runtime-runc/moby. */
  readonly runcRoot?: string;
  /** Default "runc" on the PATH. */
  readonly runcPath?: string;
  /** Largest deleted file that is carried, bytes. Default 1 GiB. */
  readonly ghostLimitBytes?: number;
  /**
   * The page server to which memory goes, but for private memory: that stays where it is, and the server is only told of
   * it (LAZY). By default all memory goes into imageDirectory.
   */
  readonly pageServerPath?: string;
  /** Paths in the container that its processes watch with inotify. Default none. */
  readonly watchedPaths?: readonly string[];
  /** Mount points in the container of which CRIU carries no content; see tmpfs/external-mount.ts. Default none. */
  readonly leftOutMounts?: readonly string[];
  readonly deadlineMs: number;
  /** Ends the preparations; a dump that runs is not interrupted. */
  readonly signal?: AbortSignal | undefined;
}

const GHOST_LIMIT_BYTES = 1 << 30;
const REFREEZE_LIMIT_MS = 10_000;
/** Where a `criu` is whose violent end leaves the container frozen; see agent/runc/guarded-criu.c. */
const GUARDED_CRIU = "/usr/lib/drayage/guarded/criu";

/** Descriptor of CRIU's that neither it nor runc use; see guarded-criu.c. */
const PAGE_SOCKET = 61;

/** The transient unit of a migration's dump; an agent that is restarted finds and stops it by this name. */
export function dumpUnit(migrationId: string): string {
  return `drayage-dump-${migrationId}`;
}

/**
 * CRIU's options for this one call. They reach it as CRIU_CONFIG_FILE in the
 * environment: runc hands the annotation of a container's start to a dump,
 * and has no flags for these.
 */
function criuDumpConfig({
  ghostLimitBytes = GHOST_LIMIT_BYTES,
  watchedPaths = [],
  leftOutMounts = [],
}: Pick<DumpOptions, "ghostLimitBytes" | "watchedPaths" | "leftOutMounts">): string {
  return [
    `ghost-limit ${ghostLimitBytes}`,
    "link-remap",
    // The agent has a lock of its own, which outlasts the dump.
    "network-lock skip",
    "manage-cgroups=ignore",
    // By path alone: what the other host has under the same inode is something else.
    ...(watchedPaths.length === 0 ? [] : ["force-irmap"]),
    ...watchedPaths.map((path) => `irmap-scan-path "${path}"`),
    ...leftOut(leftOutMounts),
    "",
  ].join("\n");
}

/** Everything that a dump needs before the container is frozen: the rest takes no longer than CRIU does. */
export interface PreparedDump {
  /**
   * Dumps the container, which is paused by now. On return it is frozen again
   * (verified), on success as on failure. Once. After a failure its sockets may
   * be in repair mode: see repair-mode.ts before the thaw.
   *
   * Not to be interrupted without need: CRIU that is ended in the few
   * milliseconds in which it takes or gives back control of a process leaves
   * that one with registers of CRIU's.
   *
   * Throws DrayError CRIU_DUMP_FAILED (the line that matters, its meaning and
   * remedy), FREEZE_FAILED (it could not be verified frozen), TIMEOUT, CANCELLED.
   */
  run(): Promise<void>;
  /** Releases what was prepared and not used. */
  discard(): void;
}

/** Throws DrayError NOT_FOUND, CRIU_DUMP_FAILED, TIMEOUT, CANCELLED. */
export async function prepareDump(options: DumpOptions): Promise<PreparedDump> {
  const { dockerId, imageDirectory, workDirectory, runcRoot = DOCKER_RUNC_ROOT, runcPath = "runc" } = options;
  const container = await runcContainer(runcRoot, dockerId);
  if (container === null) throw new DrayError("NOT_FOUND", `runc has no container ${dockerId.slice(0, 12)}`);
  for (const directory of [imageDirectory, workDirectory]) await mkdir(directory, { recursive: true, mode: 0o700 });
  const config = join(workDirectory, "criu.conf");
  const pages = pageSocketOf(options.pageServerPath);
  await writeFile(config, `${criuDumpConfig(options)}${pages.config}`, { mode: 0o600 });

  const cgroupMode = knowsIgnoreCgroups(await runcVersion(runcPath)) ? ["--manage-cgroups-mode", "ignore"] : [];
  const places = ["--image-path", imageDirectory, "--work-path", workDirectory];
  const features = ["--leave-running", "--tcp-established", "--file-locks", "--ext-unix-sk", ...cgroupMode];
  const argv = [...[runcPath, "--root", runcRoot, "checkpoint", ...places, ...features], ...pages.flags, dockerId];
  await demandGuard();
  const unit = await startUnit(argv, {
    unit: dumpUnit(options.migrationId),
    env: {
      CRIU_CONFIG_FILE: config,
      PATH: `${dirname(GUARDED_CRIU)}:${process.env["PATH"] ?? ""}`,
      DRAYAGE_DUMP_CGROUP: container.cgroup,
      ...pages.env,
    },
    signal: options.signal,
  });
  return {
    async run() {
      if (!(await isFrozen(container.cgroup))) {
        throw new DrayError("FREEZE_FAILED", `container ${dockerId.slice(0, 12)} is not paused`);
      }
      try {
        await unit.run({ deadlineMs: options.deadlineMs });
      } catch (error) {
        throw explain(error, await readCriuLog(join(workDirectory, "dump.log")));
      } finally {
        // CRIU thaws the cgroup while it dumps; it ends frozen if all went well, and must in any case.
        await freezeCgroup(container.cgroup, { deadlineMs: REFREEZE_LIMIT_MS });
      }
    },
    discard: () => unit.discard(),
  };
}

interface PageSocket {
  /** Of runc. */
  readonly flags: readonly string[];
  /** Lines for CRIU. */
  readonly config: string;
  /** For guarded-criu.c, which gives CRIU the socket. */
  readonly env: Readonly<Record<string, string>>;
}

function pageSocketOf(pageServerPath: string | undefined): PageSocket {
  if (pageServerPath === undefined) return { flags: [], config: "", env: {} };
  return {
    flags: ["--lazy-pages"],
    // Not by runc's flag, which names an address, and which CRIU takes for that of its clients if pages are lazy.
    config: `page-server\nps-socket ${PAGE_SOCKET}\n`,
    env: { DRAYAGE_PAGE_SOCKET: String(PAGE_SOCKET), DRAYAGE_PAGE_SERVER: pageServerPath },
  };
}

/** Without it the dump would begin at once. */
async function demandGuard(): Promise<void> {
  try {
    await access(GUARDED_CRIU, constants.X_OK);
  } catch (cause) {
    throw new DrayError("CRIU_DUMP_FAILED", `${GUARDED_CRIU} is missing`, {
      remedy: "Install the package drayage again.",
      cause,
    });
  }
}

async function startUnit(
  argv: readonly string[],
  options: Pick<TransientUnitOptions, "unit" | "env" | "signal">,
): Promise<WaitingUnit> {
  try {
    return await WaitingUnit.start(argv, options);
  } catch (error) {
    throw explain(error, "");
  }
}

/** Dumps a paused container through runc and CRIU; as `prepareDump` and `run` in one. */
export async function dumpContainer(options: DumpOptions): Promise<void> {
  const dump = await prepareDump(options);
  try {
    await dump.run();
  } finally {
    dump.discard();
  }
}

/** Of runc's failure, by what CRIU has logged; anything else as it is. */
function explain(error: unknown, log: string): unknown {
  if (!(error instanceof DrayError) || error.reason !== "COMMAND_FAILED") return error;
  const diagnosis = diagnose(`${log}\n${error.message}`);
  if (diagnosis === null) return new DrayError("CRIU_DUMP_FAILED", error.message, { cause: error });
  const { meaning, line, remedy } = diagnosis;
  return new DrayError("CRIU_DUMP_FAILED", `${meaning}: ${line}`, { remedy, cause: error });
}

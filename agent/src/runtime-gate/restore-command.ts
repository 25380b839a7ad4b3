/** From the arguments of `runc create` to those of `runc restore`. Pure. */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** Flag names of runc, global and of create, and whether a value follows. */
const GLOBAL_FLAGS: Readonly<Record<string, boolean>> = {
  "--debug": false,
  "--log": true,
  "--log-format": true,
  "--root": true,
  "--systemd-cgroup": false,
  "--rootless": true,
  "--criu": true,
};
const CREATE_FLAGS: Readonly<Record<string, boolean>> = {
  "--bundle": true,
  "-b": true,
  "--console-socket": true,
  "--pidfd-socket": true,
  "--pid-file": true,
  "--no-pivot": false,
  "--no-new-keyring": false,
  "--preserve-fds": true,
};
/** Would pass by the `criu` in the PATH, which holds the restore until there are images; runc from 1.2 on ignores it. */
const NOT_GLOBAL_OF_RESTORE = new Set(["--criu"]);
/** What `runc restore` has no use for: CRIU restores the keyring-less, fd-complete process itself. */
const NOT_OF_RESTORE = new Set(["--no-new-keyring", "--preserve-fds"]);
const DEFAULT_RUNC_ROOT = "/run/runc";

interface Flag {
  readonly name: string;
  readonly value: string | null;
}

export interface CreateCommand {
  readonly globalFlags: readonly Flag[];
  readonly createFlags: readonly Flag[];
  readonly dockerId: string;
  /** Absolute. */
  readonly bundle: string;
  readonly runcRoot: string;
}

export interface RestoreTarget {
  readonly runcPath: string;
  readonly imageDirectory: string;
  readonly workDirectory: string;
  readonly lazyPages: boolean;
}

/** Throws DrayError BAD_REQUEST on anything that is not understood: nothing is guessed about a restore. */
export function parseCreate(args: readonly string[]): CreateCommand {
  const [globalFlags, afterGlobal] = takeFlags(args, GLOBAL_FLAGS);
  if (afterGlobal[0] !== "create") throw bad(`${afterGlobal[0] ?? "nothing"} where create was expected`);
  const [createFlags, rest] = takeFlags(afterGlobal.slice(1), CREATE_FLAGS);
  const [dockerId, ...more] = rest;
  if (dockerId === undefined || more.length > 0) throw bad("not exactly one container id");
  const bundle = valueAfter(createFlags, "--bundle") ?? valueAfter(createFlags, "-b");
  if (bundle === null || !bundle.startsWith("/")) throw bad("no absolute --bundle");
  return {
    globalFlags,
    createFlags,
    dockerId,
    bundle,
    runcRoot: valueAfter(globalFlags, "--root") ?? DEFAULT_RUNC_ROOT,
  };
}

/** The whole command, program first. CRIU options that runc has no flag for come from the bundle's criu.conf. */
export function restoreCommand(create: CreateCommand, target: RestoreTarget): string[] {
  return [
    target.runcPath,
    ...create.globalFlags.filter(({ name }) => !NOT_GLOBAL_OF_RESTORE.has(name)).flatMap(words),
    "restore",
    "--detach",
    "--image-path",
    target.imageDirectory,
    "--work-path",
    target.workDirectory,
    "--tcp-established",
    "--file-locks",
    "--ext-unix-sk",
    ...(target.lazyPages ? ["--lazy-pages"] : []),
    ...create.createFlags.filter((flag) => !NOT_OF_RESTORE.has(flag.name)).flatMap(words),
    create.dockerId,
  ];
}

function takeFlags(args: readonly string[], known: Readonly<Record<string, boolean>>): [Flag[], readonly string[]] {
  const flags: Flag[] = [];
  let next = 0;
  for (let word = args[next]; word?.startsWith("-"); word = args[next]) {
    next++;
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const valued = Object.hasOwn(known, name) ? known[name] : undefined;
    if (valued === undefined) throw bad(`the flag ${name}`);
    if (equals >= 0) flags.push({ name, value: word.slice(equals + 1) });
    else if (!valued) flags.push({ name, value: null });
    else {
      const value = args[next++];
      if (value === undefined) throw bad(`${name} without value`);
      flags.push({ name, value });
    }
  }
  return [flags, args.slice(next)];
}

function words(flag: Flag): string[] {
  if (flag.value === null) return [flag.name];
  return flag.name.startsWith("--") ? [`${flag.name}=${flag.value}`] : [flag.name, flag.value];
}

function valueAfter(flags: readonly Flag[], name: string): string | null {
  return flags.findLast((flag) => flag.name === name)?.value ?? null;
}

function bad(what: string): DrayError {
  return new DrayError("BAD_REQUEST", `runc create came with ${what}`, {
    remedy: "This version of containerd is not known to Drayage; look for a newer Drayage.",
  });
}

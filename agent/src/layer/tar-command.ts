/**
 * GNU tar of the host as a child with streams: extended attributes, ACLs, sparse files and links are its business. It
 * sees the layer and nothing else of the host; see agent/native/layer-tar.c.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { nativeFile } from "../native/native-file.ts";

const STDERR_KEEP_CHARS = 16 * 1024;

/** What overlayfs keeps for itself (`trusted.overlay.NAME`) about one file system and what would be wrong, or a lie, on another. */
export const OVERLAY_PRIVATE: readonly string[] = ["origin", "impure", "nlink", "upper", "uuid", "protattr"];
const WITHOUT_PRIVATE = OVERLAY_PRIVATE.map((name) => `--xattrs-exclude=trusted.overlay.${name}`);

const METADATA = ["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*"];

export function createArguments(live: boolean): string[] {
  return [
    "--create",
    "--file=-",
    "--format=posix",
    // Without the pid and without times that nobody restores: the same layer gives the same stream.
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
    ...METADATA,
    ...WITHOUT_PRIVATE,
    "--sparse",
    "--no-recursion",
    "--null",
    "--verbatim-files-from",
    "--no-unquote",
    "--files-from=-",
    ...(live ? ["--ignore-failed-read"] : []),
  ];
}

export function extractArguments(kind: "upper" | "merged"): string[] {
  return [
    "--extract",
    "--file=-",
    ...METADATA,
    // A mounted overlay makes its own marks; it would take these for those of an overlay inside.
    ...(kind === "merged" ? ["--xattrs-exclude=trusted.overlay.*"] : WITHOUT_PRIVATE),
    "--same-owner",
    "--same-permissions",
    "--delay-directory-restore",
  ];
}

export interface TarRun {
  readonly child: ChildProcess;
  /** Resolves with exit code and last words when it has ended; never rejects. */
  readonly ended: Promise<{ readonly code: number; readonly words: string }>;
}

export function startTar(directory: string, argv: readonly string[], signal: AbortSignal | undefined): TarRun {
  const child = spawn(nativeFile("drayage-layer-tar"), [directory, ...argv], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    killSignal: "SIGKILL",
    ...(signal === undefined ? {} : { signal }),
  });
  let words = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    words = (words + text).slice(-STDERR_KEEP_CHARS);
  });
  const ended = new Promise<{ code: number; words: string }>((resolve) => {
    child.on("error", (error) => resolve({ code: -1, words: error.message }));
    child.on("close", (code) => resolve({ code: code ?? -1, words }));
  });
  return { child, ended };
}

/** The error for a tar that ended badly. */
export function tarError(what: string, words: string): DrayError {
  const lastLines = words.trim().split("\n").slice(-3).join("; ");
  const reason = /no space left on device|disk quota exceeded/i.test(words) ? "NO_SPACE" : "COMMAND_FAILED";
  return new DrayError(reason, `${what}: tar: ${lastLines}`);
}

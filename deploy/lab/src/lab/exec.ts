/** Commands and files across the border of a node. */
import { spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { LabError } from "../errors.ts";
import { runRaw } from "../host/run.ts";
import { findNode, type Lab } from "./lab.ts";

/** Runs a command in a node with this process's stdin, stdout and stderr; gives its exit code. */
export async function execInNode(lab: Lab, name: string, argv: readonly string[]): Promise<number> {
  findNode(lab, name);
  const [file = "", ...args] = await lab.driver.command(name, argv);
  const child = spawn(file, args, { stdio: "inherit" });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  // Ctrl-C reaches the child through the terminal; this side only has to stay until it ends.
  const stay = () => {};
  process.on("SIGINT", stay).on("SIGTERM", forward).on("SIGHUP", forward);
  try {
    return await new Promise<number>((done, fail) => {
      child.once("error", fail);
      child.once("close", (code, signal) => done(code ?? (signal === "SIGINT" ? 130 : 143)));
    });
  } finally {
    process.off("SIGINT", stay).off("SIGTERM", forward).off("SIGHUP", forward);
  }
}

export interface Place {
  readonly node: string | undefined;
  readonly path: string;
}

/** `n1:/path` is in a node, everything else on the host. */
export function parsePlace(text: string): Place {
  const match = /^([a-z][a-z0-9]*):(.+)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return { node: undefined, path: resolve(text) };
  if (!match[2].startsWith("/")) {
    throw new LabError("usage", `a path in a node must be absolute: ${text}`);
  }
  return { node: match[1], path: match[2] };
}

const UNPACK = `set -eu
target=$1 base=$2
if [ -d "$target" ]; then target=$target/$base; fi
fresh=$(mktemp -d "$(dirname "$target")/.lab-cp.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
tar --extract --numeric-owner --directory "$fresh"
[ -e "$fresh/$base" ] || { echo "nothing arrived" >&2; exit 1; }
mv -T -- "$fresh/$base" "$target"
`;

/** Copies a file or a directory: into the target if that is a directory, else under its name. */
export async function copy(lab: Lab, source: Place, target: Place, signal?: AbortSignal): Promise<void> {
  if ((source.node === undefined) === (target.node === undefined)) {
    throw new LabError("usage", "one side must be in a node, the other on the host", {
      remedy: "write it like: lab cp file n1:/tmp/file",
    });
  }
  if (source.node === undefined) await stat(source.path);
  const base = basename(source.path);
  const pack = ["tar", "--create", "--numeric-owner", "--directory", dirname(source.path), "--", base];
  const unpack = ["/bin/sh", "-c", UNPACK, "sh", target.path, base];
  const at = async (place: Place, argv: string[]) =>
    place.node === undefined ? argv : lab.driver.command(findNode(lab, place.node).record.name, argv);
  // Both before the packer starts: what it writes while nobody reads is lost when it ends.
  const [[file = "", ...args], unpackArgv] = await Promise.all([at(source, pack), at(target, unpack)]);
  const packer = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], ...(signal ? { signal } : {}) });
  const packed = new Promise<number>((done, fail) => {
    packer.once("error", fail);
    packer.once("close", (code) => done(code ?? 1));
  });
  const label = `unpacking at ${target.node ?? "the host"}`;
  const [unpacked, code] = await Promise.all([runRaw(unpackArgv, { stdin: packer.stdout, signal }), packed]);
  if (code !== 0) throw new LabError("failed", `cannot read ${source.path}: tar ended with exit code ${code}`);
  if (unpacked.exitCode !== 0) throw new LabError("failed", `${label}: ${unpacked.stderr.trim()}`);
}

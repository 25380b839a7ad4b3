/** What a package is made of: the version, the revision, and a digest that tells whether it must be built again. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { BuildError, runTool } from "./command.ts";

export interface BuildInputs {
  readonly root: string;
  /** Debian's name of the architecture. */
  readonly architecture: "amd64" | "arm64";
  /** Version of the package; fault builds carry a suffix, so that nobody takes one for a release. */
  readonly version: string;
  /** Abbreviated commit, with "-dirty" when the sources differ from it. */
  readonly revision: string;
  /** Time of the last commit, seconds since the Unix epoch: every file in the package has it. */
  readonly sourceDateEpoch: number;
  /** Whether fault points are compiled in. */
  readonly faults: boolean;
  /** SHA-256 over everything that goes into the package. */
  readonly digest: string;
}

/** Folders and files of the repository that decide what the package holds. */
const SOURCES = [
  "package.json",
  "package-lock.json",
  "shared",
  "agent",
  "coordinator",
  "cli",
  "admin",
  "deploy/build",
  "deploy/deb",
  "deploy/systemd",
];

const ARCHITECTURES = new Map<string, "amd64" | "arm64">([
  ["x64", "amd64"],
  ["arm64", "arm64"],
]);

export function collectInputs(root: string, options: { faults: boolean }): BuildInputs {
  const architecture = ARCHITECTURES.get(process.arch);
  if (!architecture) {
    throw new BuildError(`there is no package for ${process.arch}`, "Build on x64 or arm64.");
  }
  const git = (...args: string[]) => runTool("git", args, { cwd: root, remedy: "Install git." }).trim();
  const dirty = git("status", "--porcelain", "--", ...SOURCES) !== "";
  const revision = git("rev-parse", "--short=12", "HEAD") + (dirty ? "-dirty" : "");
  const version = packageVersion(root) + (options.faults ? "+faults" : "");
  const digest = createHash("sha256");
  digest.update(JSON.stringify([version, revision, architecture, options.faults]));
  for (const source of SOURCES) addToDigest(digest, root, source);
  return {
    root,
    architecture,
    version,
    revision,
    sourceDateEpoch: Number(git("log", "-1", "--format=%ct")),
    faults: options.faults,
    digest: digest.digest("hex"),
  };
}

function packageVersion(root: string): string {
  const parsed: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  if (typeof parsed === "object" && parsed !== null && "version" in parsed && typeof parsed.version === "string") {
    return parsed.version;
  }
  throw new BuildError("package.json has no version", "Put one in.");
}

function addToDigest(digest: ReturnType<typeof createHash>, root: string, path: string): void {
  const absolute = join(root, path);
  const stat = statSync(absolute, { throwIfNoEntry: false });
  if (!stat) return;
  if (stat.isDirectory()) {
    for (const name of readdirSync(absolute).sort()) {
      if (name === "node_modules" || name === "dist" || name.includes(".test.")) continue;
      addToDigest(digest, root, `${path}/${name}`);
    }
    return;
  }
  digest.update(`${path}\0${stat.mode & 0o111}\0${stat.size}\0`);
  digest.update(readFileSync(absolute));
}

/** Lays out the files of the package below a staging directory, as they will stand on a host. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { bundlePrograms } from "./bundle.ts";
import { BuildError, runTool } from "./command.ts";
import type { BuildInputs } from "./inputs.ts";

const PROGRAM_DIRECTORY = "usr/lib/drayage";

export async function stagePackage(inputs: BuildInputs, tree: string): Promise<void> {
  const programs = join(tree, PROGRAM_DIRECTORY);
  mkdirSync(programs, { recursive: true });
  await bundlePrograms(inputs, programs);
  stageNode(inputs, programs);
  stageRuntime(inputs, programs);

  const deb = join(inputs.root, "deploy/deb");
  stageScripts(join(deb, "bin"), join(tree, "usr/bin"));
  stageScripts(join(deb, "lib"), programs);
  symlinkSync(`../lib/drayage/drayage-runc`, join(tree, "usr/bin/drayage-runc"));
  stageFiles(join(inputs.root, "deploy/systemd"), join(tree, "usr/lib/systemd/system"));

  const documentation = join(tree, "usr/share/doc/drayage");
  stageFiles(join(deb, "examples"), join(documentation, "examples"));
  cpSync(join(deb, "copyright"), join(documentation, "copyright"));
  mkdirSync(join(tree, "etc/drayage"), { recursive: true });
}

function stageNode(inputs: BuildInputs, programs: string): void {
  const library = `node-linux-${process.arch}`;
  const require = createRequire(join(inputs.root, "package.json"));
  let manifest: string;
  try {
    manifest = require.resolve(`${library}/package.json`);
  } catch (cause) {
    throw new BuildError(`${library} is not installed (${String(cause)})`, "Run `npm ci`.");
  }
  const target = join(programs, "node");
  cpSync(join(dirname(manifest), "bin/node"), target);
  chmodSync(target, 0o755);
  cpSync(join(dirname(manifest), "LICENSE"), join(programs, "node.LICENSE"));
}

function stageRuntime(inputs: BuildInputs, programs: string): void {
  const compiler = process.env.CC ?? "gcc";
  runTool(compiler, ["--version"], { remedy: "Install a C compiler: `apt-get install gcc libc6-dev`." });
  for (const [build, output] of [
    ["agent/runc/build", "drayage-runc"],
    ["agent/native/build", "page-memory.node"],
    ["agent/fault-server/build", "drayage-fault-server"],
  ] as const) {
    runTool(join(inputs.root, build), [join(programs, output)], { remedy: "Check the sources out whole." });
  }
  // As `criu`, first in the PATH of a dump's runc.
  mkdirSync(join(programs, "guarded"));
  symlinkSync("../drayage-dump-guard", join(programs, "guarded/criu"));
}

function stageScripts(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    writeFileSync(join(to, name), readFileSync(join(from, name)));
    chmodSync(join(to, name), 0o755);
  }
}

function stageFiles(from: string, to: string): void {
  if (!existsSync(from)) throw new BuildError(`${from} is missing`, "Check the sources out whole.");
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    writeFileSync(join(to, name), readFileSync(join(from, name)));
    chmodSync(join(to, name), 0o644);
  }
}

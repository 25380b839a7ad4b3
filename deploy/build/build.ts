/**
 * Builds the Debian package: `node deploy/build/build.ts [--faults]`.
 *
 * Writes dist/drayage_<version>_<architecture>.deb and prints its path. Does
 * nothing when the package in dist/ was built from the same inputs.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BuildError } from "./command.ts";
import { buildDeb, packageName } from "./deb.ts";
import { collectInputs } from "./inputs.ts";
import { stagePackage } from "./stage.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { faults: { type: "boolean", default: false } } });
  const root = join(import.meta.dirname, "../..");
  const inputs = collectInputs(root, { faults: values.faults });
  const dist = join(root, "dist");
  const file = join(dist, packageName(inputs));
  const stamp = `${file}.inputs`;
  if (existsSync(file) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs.digest) {
    process.stdout.write(`${file}\n`);
    return;
  }
  const begin = performance.now();
  mkdirSync(dist, { recursive: true });
  const work = mkdtempSync(join(dist, ".package-"));
  try {
    const tree = join(work, "tree");
    await stagePackage(inputs, tree);
    buildDeb(inputs, tree, join(work, "package.deb"));
    rmSync(stamp, { force: true });
    renameSync(join(work, "package.deb"), file);
    writeFileSync(stamp, inputs.digest);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  process.stderr.write(`built ${inputs.version} (${inputs.revision}) in ${seconds} s\n`);
  process.stdout.write(`${file}\n`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  process.stderr.write(`build: ${error.message}\n  remedy: ${error.remedy}\n`);
  process.exitCode = 1;
}

/** The named points that the programs have, read out of their sources. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../../deploy/lab/src/lab/layout.ts";

const FOLDERS = ["agent/src", "coordinator/src"];
const POINT = /\bfaultPoint\(\s*(?:"([^"]+)"|`([^`]+)`)/g;
const PLACEHOLDER = /\$\{([^}]+)\}/;

/** Every program file below the folders, by its path in the repository. */
export function sources(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(REPOSITORY, folder), { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
      const path = join(folder, name);
      found.set(path, readFileSync(join(REPOSITORY, path), "utf8"));
    }
  }
  return found;
}

/**
 * All points. A point whose name is made at run time counts once for each value of its placeholder, which `values` has
 * by the template; throws if it does not.
 */
export function pointsOf(
  files: ReadonlyMap<string, string>,
  values: Readonly<Record<string, readonly string[]>>,
): Set<string> {
  const points = new Set<string>();
  for (const [path, text] of files) {
    for (const [, name, template = ""] of text.matchAll(POINT)) {
      if (name !== undefined) {
        points.add(name);
        continue;
      }
      const known = values[template];
      if (known === undefined) throw new Error(`${path}: nothing says what \`${template}\` may be`);
      for (const value of known) points.add(template.replace(PLACEHOLDER, value));
    }
  }
  return points;
}

/** What the leader calls its writes of a migration's record. */
export function recordWrites(files: ReadonlyMap<string, string>): string[] {
  const texts = [...files].filter(([path]) => path.startsWith("coordinator/")).map(([, text]) => text);
  const named = (pattern: RegExp) => texts.flatMap((text) => [...text.matchAll(pattern)].map(([, name = ""]) => name));
  const phases = named(/\brunPhase\(context, "([^"]+)", \{ journal: "before" \}/g).map((phase) => `phase-${phase}`);
  return [...new Set([...named(/\bjournal\.write\(\s*"([^"]+)"/g), ...phases])];
}

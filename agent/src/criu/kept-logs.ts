/**
 * CRIU's logs of what has failed. The directories of a migration go with it, and what has no known cause is found out
 * from the whole log alone.
 */
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** At most a few megabytes each, see criu-log.ts. */
const KEPT_LOGS = 20;
const SUFFIX = ".log";

/** Writes `<directory>/<name>.log`, readable by root only, returns its path, and removes the oldest of more than twenty. */
export async function keepLog(directory: string, name: string, log: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, `${name}${SUFFIX}`);
  await writeFile(path, log, { mode: 0o600 });
  await removeOldest(directory);
  return path;
}

async function removeOldest(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(SUFFIX));
  const logs = await Promise.all(
    names.map(async (name) => ({ name, writtenAtMs: (await stat(join(directory, name))).mtimeMs })),
  );
  logs.sort((a, b) => b.writtenAtMs - a.writtenAtMs);
  for (const { name } of logs.slice(KEPT_LOGS)) await rm(join(directory, name), { force: true });
}

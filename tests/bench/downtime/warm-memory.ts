/**
 * Where the benchmark runs in a virtual machine, its host takes back memory that has been free for a while, and a first
 * touch of such a page costs many times an ordinary one. Which way meets how many of those pages is chance.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { freemem } from "node:os";

const MEGABYTE = 1024 * 1024;
/** Of the container's memory there come to be images on both nodes and the copy; and two more for what is in between. */
const COPIES = 5;
/** Caches, sockets, programs. */
const BESIDE_BYTES = 512 * MEGABYTE;
/** The rest is left to what runs. */
const FREE_SHARE = 0.8;
/** Touches that many megabytes, says so, and ends with its standard input. */
const HOLD = `
  for (let n = Number(process.argv[1]); n > 0; n--) globalThis[n] = Buffer.alloc(${MEGABYTE}, 1);
  process.stdin.on("end", () => process.exit()).resume();
  process.stdout.write("held");
`;

export interface WarmMemory {
  /** Gives all of it back; from the second time on, nothing. */
  release(): Promise<void>;
}

/**
 * Touches as much free memory as a run with that much data will need, and holds it until the run's move begins, so
 * that every way finds it the same. In a process of its own, whose end gives back all of it at once.
 */
export async function holdWarmMemory(megabytes: number): Promise<WarmMemory> {
  const containerBytes = megabytes * MEGABYTE;
  const bytes = Math.min(COPIES * containerBytes + BESIDE_BYTES, FREE_SHARE * (freemem() - containerBytes));
  const holder = execFile(process.execPath, ["-e", HOLD, String(Math.ceil(bytes / MEGABYTE))]);
  const ended = once(holder, "close");
  const release = async () => {
    holder.stdin?.end();
    const [code] = await ended;
    if (code !== 0) throw new Error(`the process that holds warm memory ended with ${code}`);
  };
  const held = holder.stdout === null ? [] : once(holder.stdout, "data");
  const failed = ended.then(([code]) => {
    throw new Error(`the process that holds warm memory ended with ${code}`);
  });
  // Afterwards its end is no failure.
  failed.catch(() => undefined);
  await Promise.race([held, failed]);
  return { release };
}

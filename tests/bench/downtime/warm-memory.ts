/**
 * Where the benchmark runs in a virtual machine, its host takes back memory that has been free for a while, and a first
 * touch of such a page costs many times an ordinary one. Which way meets how many of those pages is chance.
 */
import { execFile } from "node:child_process";
import { freemem } from "node:os";
import { promisify } from "node:util";

const MEGABYTE = 1024 * 1024;
/** Of the container's memory there are at once: itself, images on both nodes, the copy; and as much again for what is in between. */
const COPIES = 5;
/** Caches, sockets, programs. */
const BESIDE_BYTES = 512 * MEGABYTE;
/** The rest is left to what runs. */
const FREE_SHARE = 0.8;
const TOUCH = "for (let n = Number(process.argv[1]); n > 0; n--) globalThis[n] = Buffer.alloc(1048576, 1)";

/** Touches as much free memory as a run with that much data will need, and gives it back, so that every way finds it the same. */
export async function warmMemory(megabytes: number): Promise<void> {
  const bytes = Math.min(COPIES * megabytes * MEGABYTE + BESIDE_BYTES, FREE_SHARE * freemem());
  // In a process of its own: its end gives back all of it, at once.
  await promisify(execFile)(process.execPath, ["-e", TOUCH, String(Math.ceil(bytes / MEGABYTE))]);
}

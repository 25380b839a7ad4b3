/** Reading CRIU's logs, which may be of any length: CRIU 4 that reads pages which are not there logs gigabytes. */
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** The cause stands near the end, sometimes near the beginning. */
const PIECE_BYTES = 1 << 20;

/** The first line that matches, of the whole log; null if none does, or there is no log. */
export async function findInCriuLog(path: string, pattern: RegExp): Promise<string | null> {
  const pieces = createReadStream(path, { encoding: "latin1", highWaterMark: PIECE_BYTES });
  let rest = "";
  try {
    for await (const piece of pieces as AsyncIterable<string>) {
      const text = rest + piece;
      const end = text.lastIndexOf("\n") + 1;
      const found = lineOf(text.slice(0, end), pattern);
      if (found !== null) return found;
      rest = text.slice(Math.max(end, text.length - PIECE_BYTES));
    }
    return lineOf(rest, pattern);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function lineOf(text: string, pattern: RegExp): string | null {
  const at = text.search(pattern);
  if (at < 0) return null;
  const end = text.indexOf("\n", at);
  return text.slice(text.lastIndexOf("\n", at) + 1, end < 0 ? undefined : end);
}

/** The log's beginning and end, all of it if it is short; "" if there is none. */
export async function readCriuLog(path: string): Promise<string> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
  try {
    const { size } = await file.stat();
    if (size <= 2 * PIECE_BYTES) return await file.readFile("utf8");
    const [beginning, end] = [Buffer.alloc(PIECE_BYTES), Buffer.alloc(PIECE_BYTES)];
    await file.read(beginning, 0, PIECE_BYTES, 0);
    await file.read(end, 0, PIECE_BYTES, size - PIECE_BYTES);
    return `${beginning.toString("utf8")}\n${end.toString("utf8")}`;
  } finally {
    await file.close();
  }
}

/** Reading CRIU's logs, which may be of any length: CRIU 4 that reads pages which are not there logs gigabytes. */
import { type FileHandle, open } from "node:fs/promises";

/** The cause stands near the end, sometimes near the beginning. */
const PIECE_BYTES = 1 << 20;

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

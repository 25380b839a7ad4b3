/** Docker answers an image load with 200 and a stream of messages; failure is one of the messages. */
import type { Readable } from "node:stream";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

const KEEP_CHARS = 64 * 1024;

/** Docker's words ("Loaded image: …"). Throws DOCKER_ERROR, or NO_SPACE, when a message says so. */
export async function readLoadAnswer(stream: Readable): Promise<string> {
  let words = "";
  let rest = "";
  stream.setEncoding("utf8");
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = (rest + chunk).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) words += wordsOf(line);
    words = words.slice(-KEEP_CHARS);
  }
  return (words + wordsOf(rest)).trim();
}

function wordsOf(line: string): string {
  if (line.trim() === "") return "";
  const message = JSON.parse(line) as { stream?: string; error?: string };
  if (message.error !== undefined) {
    const full = /no space left on device/i.test(message.error);
    throw new DrayError(full ? "NO_SPACE" : "DOCKER_ERROR", `Docker: load image: ${message.error}`);
  }
  return message.stream ?? "";
}

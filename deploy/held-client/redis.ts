/** The little of Redis' protocol that is needed to fill one with data. */
import { randomFillSync } from "node:crypto";
import type { LineConnection } from "./line-connection.ts";

const VALUE_BYTES = 1024 * 1024;

/** Sets `megabytes` keys of 1 MiB each; half of every value is random, half is one letter. */
export async function fillRedis(client: LineConnection, megabytes: number): Promise<void> {
  const value = Buffer.alloc(VALUE_BYTES, "x");
  for (let index = 0; index < megabytes; index++) {
    randomFillSync(value, 0, VALUE_BYTES / 2);
    const reply = await client.ask(encodeCommand(["SET", `fill:${index}`, value]));
    if (reply !== "+OK") throw new Error(`filling Redis: ${reply}`);
  }
}

/** The number of keys. */
export async function keyCount(client: LineConnection): Promise<number> {
  const reply = await client.ask(encodeCommand(["DBSIZE"]));
  if (!/^:\d+$/.test(reply)) throw new Error(`DBSIZE: ${reply}`);
  return Number(reply.slice(1));
}

/** A command as Redis reads it. */
export function encodeCommand(words: readonly (string | Buffer)[]): Buffer {
  const parts = words.map((word) => (typeof word === "string" ? Buffer.from(word) : word));
  const pieces = parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from("\r\n")]);
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...pieces]);
}

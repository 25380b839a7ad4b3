/** Puts a given amount of memory into a Redis, half of it incompressible. */
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import type { Endpoint } from "../../harness/line-connection.ts";

const VALUE_BYTES = 1 << 20;
const OK = "+OK\r\n";

/** Fills with values of 1 MiB; every other one is random, the rest one repeated byte. Resolves when Redis has them. */
export async function fillRedis(endpoint: Endpoint, bytes: number): Promise<void> {
  const socket = connect({ ...endpoint });
  await once(socket, "connect");
  try {
    let confirmed = 0;
    socket.on("data", (chunk: Buffer) => {
      confirmed += chunk.length / OK.length;
      if (!chunk.toString("latin1").startsWith("+")) socket.destroy(new Error(`Redis: ${chunk.toString("latin1")}`));
    });
    const count = Math.max(1, Math.round(bytes / VALUE_BYTES));
    for (let n = 0; n < count; n++) {
      const value = Buffer.alloc(VALUE_BYTES, "x");
      if (n % 2 === 0) randomFillSync(value);
      const key = `fill:${n}`;
      socket.write(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${VALUE_BYTES}\r\n`);
      socket.write(value);
      if (!socket.write("\r\n")) await once(socket, "drain");
    }
    while (confirmed < count) await once(socket, "data");
  } finally {
    socket.destroy();
  }
}

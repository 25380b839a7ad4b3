import { createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { HeldConnection } from "./held-connection.ts";

let server: Server | undefined;

afterEach(() => {
  server?.close();
});

/** A Redis that answers the n-th INCR with what `reply` says. */
async function redis(
  reply: (n: number, socket: Socket) => string | undefined,
): Promise<{ host: string; port: number }> {
  let n = 0;
  server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      const text = reply(++n, socket);
      if (text !== undefined) socket.write(text);
    });
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

async function failureOf(reply: (n: number, socket: Socket) => string | undefined): Promise<string> {
  const held = await HeldConnection.redis(await redis(reply));
  await expect.poll(() => held.failure?.message).toBeDefined();
  await expect(held.stop()).rejects.toThrow();
  return held.failure?.message ?? "";
}

test("counts replies in order and measures the longest gap", async () => {
  let delayed = false;
  const endpoint = await redis((n, socket) => {
    if (n !== 20 || delayed) return `:${n}\r\n`;
    delayed = true;
    setTimeout(() => socket.write(`:${n}\r\n`), 200);
    return undefined;
  });
  const held = await HeldConnection.redis(endpoint);
  await held.moreReplies(40);
  const { replies, longestGap, gaps } = await held.stop();
  expect(replies).toBeGreaterThanOrEqual(40);
  expect(longestGap.durationMs).toBeGreaterThan(180);
  expect(gaps).toContainEqual(longestGap);
});

test("a lost reply fails", async () => {
  expect(await failureOf((n) => `:${n < 5 ? n : n + 1}\r\n`)).toContain("lost: 6 after 4");
});

test("a repeated reply fails", async () => {
  expect(await failureOf((n) => `:${n < 5 ? n : n - 1}\r\n`)).toContain("repeated or out of order: 4 after 4");
});

test("a reply that nobody asked for fails", async () => {
  expect(await failureOf((n) => (n === 3 ? ":3\r\n:4\r\n" : `:${n}\r\n`))).toContain("nobody asked for");
});

test("an error reply fails", async () => {
  expect(await failureOf((n) => (n === 3 ? "-ERR\r\n" : `:${n}\r\n`))).toContain("no number");
});

test("a closed connection fails, and so does a reset one", async () => {
  const closed = await failureOf((n, socket) => {
    if (n === 3) socket.end();
    return n === 3 ? undefined : `:${n}\r\n`;
  });
  expect(closed).toContain("closed by the other side");
  const reset = await failureOf((n, socket) => {
    if (n === 3) socket.resetAndDestroy();
    return n === 3 ? undefined : `:${n}\r\n`;
  });
  expect(reset).toContain("ECONNRESET");
});

/**
 * Holds one connection to Redis and counts on it: every reply must be the
 * next number. On SIGTERM it reports what it saw as a JSON line.
 *
 *   counting-client ADDRESS PORT KEY
 */
import { connect } from "node:net";

const [address = "", port = "6379", key = "counter"] = process.argv.slice(2);
const socket = connect(Number(port), address);
const problems: string[] = [];
let replies = 0;
let last: number | undefined;
let longestGapMs = 0;
let lastAtMs = performance.now();
let rest = "";

function ask(): void {
  socket.write(`INCR ${key}\r\n`);
}

socket.setNoDelay(true);
socket.on("connect", () => {
  lastAtMs = performance.now();
  console.log(JSON.stringify({ connected: true }));
  ask();
});
socket.on("data", (chunk) => {
  rest += chunk.toString("latin1");
  for (let end = rest.indexOf("\r\n"); end >= 0; end = rest.indexOf("\r\n")) {
    const reply = rest.slice(0, end);
    rest = rest.slice(end + 2);
    const value = Number(reply.slice(1));
    if (!reply.startsWith(":") || (last !== undefined && value !== last + 1)) problems.push(`${last} then ${reply}`);
    last = value;
    replies++;
    const nowMs = performance.now();
    longestGapMs = Math.max(longestGapMs, nowMs - lastAtMs);
    lastAtMs = nowMs;
    setTimeout(ask, 2);
  }
});
socket.on("error", (error) => problems.push(String(error)));
socket.on("close", () => problems.push("closed"));
process.on("SIGTERM", report);
process.on("SIGUSR1", () => {
  console.log(JSON.stringify({ replies, last, longestGapMs: Math.round(longestGapMs), problems }));
  longestGapMs = 0;
});

function report(): void {
  console.log(JSON.stringify({ replies, last, longestGapMs: Math.round(longestGapMs), problems }));
  process.exit(problems.length === 0 ? 0 : 1);
}

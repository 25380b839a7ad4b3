/**
 * The agent's page server, run inside a node by page-server.e2e.test.ts: takes one dump into the directory that it is
 * given, on the socket that it is given. Says in the first line of stdout that it listens, what has come in the second.
 */
import { MemoryImageWriter } from "../../agent/src/memory-image/memory-image-writer.ts";
import { startPageServer } from "../../agent/src/page-server/page-server.ts";

const DEADLINE_MS = 120_000;

const sink = await MemoryImageWriter.create(process.argv[2] ?? "");
const { done } = await startPageServer({ path: process.argv[3] ?? "", sink, deadlineMs: DEADLINE_MS });
console.log("listening");
console.log(JSON.stringify(await done));

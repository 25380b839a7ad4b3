/**
 * The agent's page server, run inside a node by page-server.e2e.test.ts: takes one dump into the directory that it is
 * given. Says its port in the first line of stdout, what has come in the second.
 */
import { MemoryImageWriter } from "../../agent/src/memory-image/memory-image-writer.ts";
import { startPageServer } from "../../agent/src/page-server/page-server.ts";

const DEADLINE_MS = 120_000;

const sink = await MemoryImageWriter.create(process.argv[2] ?? "", { sync: false });
const onRefused = (message: string) => console.error(message);
const { port, done } = await startPageServer({ sink, deadlineMs: DEADLINE_MS, onRefused });
console.log(port);
console.log(JSON.stringify(await done));

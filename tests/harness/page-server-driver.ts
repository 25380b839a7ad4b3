/**
 * The agent's page server, run inside a node by tests: takes one dump into the directory that it is given, on the
 * socket that it is given. Says in the first line of stdout that it listens, what has come in the second.
 *
 *   page-server-driver DIRECTORY SOCKET [PORT]
 *
 * With a port, what connects to that on the loopback gets to the socket, too: so runc's own flags lead there.
 */
import { connect, createServer } from "node:net";
import { MemoryImageWriter } from "../../agent/src/memory-image/memory-image-writer.ts";
import { startPageServer } from "../../agent/src/page-server/page-server.ts";

const DEADLINE_MS = 120_000;
const [directory = "", path = "", port] = process.argv.slice(2);

const sink = await MemoryImageWriter.create(directory);
const { done } = await startPageServer({ path, sink, deadlineMs: DEADLINE_MS });
if (port !== undefined) {
  const relay = createServer({ allowHalfOpen: true }, (socket) => {
    relay.close();
    socket.pipe(connect({ path, allowHalfOpen: true })).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(Number(port), "127.0.0.1", resolve));
}
console.log("listening");
console.log(JSON.stringify(await done));

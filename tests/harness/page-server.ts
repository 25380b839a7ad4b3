/** Page servers in a node, each for one dump: the agent's, and CRIU's own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { PageTotals } from "../../agent/src/page-server/page-server.ts";
import { buildNodeProgram, NODE } from "./node-program.ts";
import type { TestLab } from "./test-lab.ts";

const PROGRAM = "/var/lib/page-server-driver.mjs";

/** Brings the agent's into the node. */
export async function installPageServer(lab: TestLab, node: string): Promise<void> {
  await lab.writeFile(node, PROGRAM, await buildNodeProgram(`${import.meta.dirname}/page-server-driver.ts`));
}

export async function removePageServer(lab: TestLab, node: string): Promise<void> {
  await lab.exec(node, ["rm", "--force", PROGRAM]);
}

export interface OurServer {
  /** For the images, and there. */
  readonly directory: string;
  readonly socket: string;
  /** On the loopback; what connects to it gets to the socket, too. */
  readonly port?: number;
}

/** Gives what has come by `dump`, which is called once the agent's server listens. Throws what that says if it fails. */
export async function dumpToUs(
  lab: TestLab,
  node: string,
  { directory, socket, port }: OurServer,
  dump: () => Promise<void>,
): Promise<PageTotals> {
  const argv = [NODE, PROGRAM, directory, socket, ...(port === undefined ? [] : [String(port)])];
  const [file = "", ...args] = await lab.command(node, argv);
  const server = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
  let complaint = "";
  server.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  const ended = once(server, "close");
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const said = async () => {
    const { value, done } = await lines.next();
    if (done !== true) return value;
    const [code] = (await ended) as [number | null];
    throw new Error(`the page server on ${node} has ended with ${code}`);
  };
  try {
    await said();
    await dump();
    const totals = JSON.parse(await said()) as PageTotals;
    await ended;
    return totals;
  } catch (error) {
    throw complaint === "" ? error : new Error(`${String(error)}; the page server: ${complaint}`, { cause: error });
  } finally {
    server.kill();
  }
}

/** The same with CRIU's, on a port of the loopback. */
export async function dumpToCriu(
  lab: TestLab,
  node: string,
  { directory, port }: { readonly directory: string; readonly port: number },
  dump: () => Promise<void>,
): Promise<void> {
  // Once it is in the background it listens; it keeps what it has for stdout.
  await lab.shell(
    node,
    `mkdir --parents "$1"
     criu page-server --daemon --pidfile "$1.pid" --images-dir "$1" --address 127.0.0.1 --port ${port} \
       --log-file log >"$1.stdout" 2>&1`,
    directory,
  );
  await dump();
  await lab.shell(node, `tail --pid="$(cat "$1.pid")" --follow /dev/null`, directory);
}

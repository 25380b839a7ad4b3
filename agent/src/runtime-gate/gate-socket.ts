/** The socket on which drayage-runc asks: one request and one answer for each connection. */
import { chmod, rename, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { encodeAnswer, FrameReader, type GateAnswer, type GateRequest, parseRequest } from "./wire.ts";

/** A drayage-runc that waits for its answer. */
export interface Asker {
  readonly request: GateRequest;
  /** False if it has gone away. */
  readonly waits: boolean;
  /** Resolves when the answer has been handed to the kernel, or the asker has gone. */
  answer(answer: GateAnswer): Promise<void>;
}

/** How long a connection may take to say what it wants. */
const REQUEST_LIMIT_MS = 5000;

export async function listenForRuntime(
  socketPath: string,
  onAsker: (asker: Asker) => void,
  onProblem: (message: string, cause: unknown) => void,
): Promise<{ close(): Promise<void> }> {
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    socket.once("close", () => connections.delete(socket));
    serve(socket, onAsker, onProblem);
  });
  // Bound aside and moved into place: drayage-runc sees a socket that listens, or none.
  const draft = join(dirname(socketPath), `.runtime.${process.pid}.sock`);
  await rm(draft, { force: true });
  await listen(server, draft);
  server.on("error", (cause) => onProblem("the socket for drayage-runc failed", cause));
  await chmod(draft, 0o600);
  await rename(draft, socketPath);
  return {
    close: () =>
      new Promise((resolve) => {
        for (const socket of connections) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function serve(
  socket: Socket,
  onAsker: (asker: Asker) => void,
  onProblem: (message: string, cause: unknown) => void,
): void {
  const reader = new FrameReader();
  let asked = false;
  socket.setTimeout(REQUEST_LIMIT_MS, () => {
    if (!asked) socket.destroy();
  });
  socket.on("error", (cause: NodeJS.ErrnoException) => {
    // It has got what it wanted another way, by the files of the session, and is gone before the answer.
    if (cause.code === "EPIPE" || cause.code === "ECONNRESET") return;
    onProblem("connection with drayage-runc broke", cause);
  });
  // It never ends its side while it waits: an end means that it was killed.
  socket.on("end", () => socket.destroy());
  socket.on("data", (chunk) => {
    try {
      const fields = asked ? null : reader.push(chunk);
      if (fields === null) return;
      const request = parseRequest(fields);
      asked = true;
      socket.setTimeout(0);
      onAsker(new SocketAsker(socket, request));
    } catch (cause) {
      onProblem("a request of drayage-runc was refused", cause);
      socket.end(encodeAnswer({ type: "fail", message: cause instanceof Error ? cause.message : String(cause) }));
    }
  });
}

class SocketAsker implements Asker {
  readonly request: GateRequest;
  readonly #socket: Socket;

  constructor(socket: Socket, request: GateRequest) {
    this.#socket = socket;
    this.request = request;
  }

  get waits(): boolean {
    return this.#socket.writable;
  }

  answer(answer: GateAnswer): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#socket.writable) return resolve();
      this.#socket.once("close", () => resolve());
      this.#socket.end(encodeAnswer(answer), () => resolve());
    });
  }
}

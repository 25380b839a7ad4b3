/** One raw TCP connection on which every request is answered by one reply, in order. */
import { connect, type Socket } from "node:net";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const CONNECT_DEADLINE_MS = 5000;

/** Splits received bytes into replies; keeps what is incomplete. */
export type ReplySplitter = (received: string) => { replies: string[]; rest: string };

/** Replies that are a line each. */
export const splitLines: ReplySplitter = (received) => {
  const parts = received.split("\n");
  return { rest: parts.pop() ?? "", replies: parts.map((line) => line.replace(/\r$/, "")) };
};

/**
 * Connects once and never again: any error, any FIN, fails every request from then on and is kept in `broken`. That
 * the connection is still the same one is the point of it.
 */
export class LineConnection {
  readonly #socket: Socket;
  readonly #split: ReplySplitter;
  readonly #waiting: PromiseWithResolvers<string>[] = [];
  #rest = "";
  #broken: Error | undefined;
  #closing = false;

  private constructor(socket: Socket, split: ReplySplitter) {
    this.#socket = socket;
    this.#split = split;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.#break(error));
    socket.on("close", () => this.#break(new Error("the connection was closed by the other side")));
  }

  static async open(endpoint: Endpoint, split: ReplySplitter = splitLines): Promise<LineConnection> {
    const socket = connect({ ...endpoint });
    await new Promise<void>((resolve, reject) => {
      const deadline = setTimeout(() => {
        socket.destroy();
        reject(new Error(`no connection to ${endpoint.host}:${endpoint.port} within ${CONNECT_DEADLINE_MS} ms`));
      }, CONNECT_DEADLINE_MS);
      socket.once("connect", () => {
        clearTimeout(deadline);
        socket.removeAllListeners("error");
        resolve();
      });
      socket.once("error", (error) => {
        clearTimeout(deadline);
        reject(error);
      });
    });
    return new LineConnection(socket, split);
  }

  /** Why no request can be answered any more; undefined as long as the connection lives. */
  get broken(): Error | undefined {
    return this.#broken;
  }

  /** Local port: the same as long as it is the same connection. */
  get localPort(): number {
    return this.#socket.localPort ?? 0;
  }

  /** Sends and waits for the reply that belongs to it. */
  ask(request: string | Buffer): Promise<string> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    const waiting = Promise.withResolvers<string>();
    this.#waiting.push(waiting);
    this.#socket.write(request);
    return waiting.promise;
  }

  close(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const { replies, rest } = this.#split(this.#rest + chunk.toString("utf8"));
    this.#rest = rest;
    for (const reply of replies) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#break(new Error(`a reply that nobody asked for: ${reply}`));
      else waiting.resolve(reply);
    }
  }

  #break(error: Error): void {
    if (this.#broken !== undefined) return;
    this.#broken = this.#closing ? new Error("closed here") : error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#broken);
    this.#socket.destroy();
  }
}

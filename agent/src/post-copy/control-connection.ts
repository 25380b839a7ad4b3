/** One connection with drayage-fault-server. */
import { connect, type Socket } from "node:net";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";
import { encodePagesHead, type ServerMessage, ServerFrames } from "./protocol.ts";

export class ControlConnection {
  readonly #socket: Socket;
  readonly #frames = new ServerFrames();
  /** Resolves when the connection is over; with an error if what came over it made no sense. */
  readonly closed: Promise<DrayError | null>;
  /** Bulk is written one after the other, so that what is urgent never waits behind more than one frame. */
  #bulk: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket, onMessage: (message: ServerMessage) => void) {
    this.#socket = socket;
    const closed = Promise.withResolvers<DrayError | null>();
    this.closed = closed.promise;
    socket.on("error", () => {});
    socket.once("close", () => closed.resolve(null));
    socket.on("data", (chunk) => {
      try {
        for (const message of this.#frames.push(chunk)) onMessage(message);
      } catch (error) {
        closed.resolve(error instanceof DrayError ? error : new DrayError("INTERNAL", String(error), { cause: error }));
        socket.destroy();
      }
    });
  }

  /** Null if nobody listens there (yet, or any more). */
  static async open(path: string, onMessage: (message: ServerMessage) => void): Promise<ControlConnection | null> {
    const socket = connect(path);
    return await new Promise((resolve) => {
      socket.once("error", () => resolve(null));
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        resolve(new ControlConnection(socket, onMessage));
      });
    });
  }

  /** True when the kernel has it; false if the connection was lost first. */
  send(...parts: readonly Uint8Array[]): Promise<boolean> {
    return new Promise((resolve) => {
      if (!this.#socket.writable) return resolve(false);
      this.#socket.once("close", onClose);
      const socket = this.#socket;
      function onClose(): void {
        resolve(false);
      }
      socket.cork();
      parts.forEach((part, index) => {
        if (index < parts.length - 1) socket.write(part);
        else {
          socket.write(part, (error) => {
            socket.off("close", onClose);
            resolve(error === undefined || error === null);
          });
        }
      });
      socket.uncork();
    });
  }

  /** As send, after all other bulk. */
  sendBulk(...parts: readonly Uint8Array[]): Promise<boolean> {
    const sent = this.#bulk.then(() => this.send(...parts));
    this.#bulk = sent;
    return sent;
  }

  sendPages(task: number, start: number, pages: Uint8Array, urgent: boolean): Promise<boolean> {
    const head = encodePagesHead(task, start, pages.byteLength);
    return urgent ? this.send(head, pages) : this.sendBulk(head, pages);
  }

  close(): void {
    this.#socket.destroy();
  }
}

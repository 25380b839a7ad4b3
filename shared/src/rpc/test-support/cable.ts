/** A TCP connection's way for tests, that can be cut as a cable is: nobody is told. */
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";

export interface Cable {
  readonly port: number;
  /** What goes in is swallowed from now on, also on new connections; nothing is closed. */
  cut(): void;
  /** The connections over it end; it is as it was for new ones. */
  breakConnections(): void;
  remove(): void;
}

/** To a port of this host. */
export async function layCable(target: number): Promise<Cable> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const cable = createServer((near) => {
    sockets.add(near);
    near.on("error", () => {});
    near.on("close", () => sockets.delete(near));
    if (isCut) {
      near.resume();
      return;
    }
    const far = connectTcp(target, "127.0.0.1");
    sockets.add(far);
    far.on("error", () => {});
    far.on("close", () => sockets.delete(far));
    near.pipe(far);
    far.pipe(near);
  });
  cable.listen(0, "127.0.0.1");
  await once(cable, "listening");
  return {
    port: (cable.address() as AddressInfo).port,
    cut: () => {
      isCut = true;
      for (const socket of sockets) {
        socket.unpipe();
        socket.resume();
      }
    },
    breakConnections: () => {
      for (const socket of sockets) socket.destroy();
    },
    remove: () => {
      for (const socket of sockets) socket.destroy();
      cable.close();
    },
  };
}

/** The established TCP connections of a container, from CRIU's images of it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, numberOf, numbersOf, readFields, readRecords } from "./protobuf-fields.ts";

export interface TcpConnection {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Sequence number of the next byte that the container expects: everything before it has been acknowledged. */
  readonly expectedSequence: number;
}

/** Field numbers of CRIU's fdinfo.proto, sk-inet.proto and tcp-stream.proto. */
const FILE_INET_SOCKET = 4;
const SOCKET = {
  inode: 2,
  family: 3,
  protocol: 5,
  state: 6,
  localPort: 7,
  remotePort: 8,
  localAddress: 11,
  remoteAddress: 12,
};
const STREAM_EXPECTED = 2;

const INET = 2;
const INET6 = 10;
const TCP = 6;
const ESTABLISHED = 1;

export async function tcpConnections(imageDirectory: string): Promise<TcpConnection[]> {
  const sockets = establishedSockets(await readFile(join(imageDirectory, "files.img")));
  return Promise.all(
    sockets.map(async ({ inode, ...socket }) => {
      const stream = await readFile(join(imageDirectory, `tcp-stream-${inode.toString(16)}.img`));
      return { ...socket, expectedSequence: expectedSequence(stream) };
    }),
  );
}

/** Pure: from files.img. */
export function establishedSockets(files: Uint8Array): (Omit<TcpConnection, "expectedSequence"> & { inode: number })[] {
  return readRecords(files).flatMap((record) => {
    const message = messageOf(readFields(record), FILE_INET_SOCKET);
    if (message === null) return [];
    const fields = readFields(message);
    if (numberOf(fields, SOCKET.protocol) !== TCP || numberOf(fields, SOCKET.state) !== ESTABLISHED) return [];
    const family = numberOf(fields, SOCKET.family);
    const localAddress = addressOf(family, numbersOf(fields, SOCKET.localAddress));
    const remoteAddress = addressOf(family, numbersOf(fields, SOCKET.remoteAddress));
    if (localAddress === null || remoteAddress === null) return [];
    return [
      {
        inode: numberOf(fields, SOCKET.inode),
        localAddress,
        localPort: numberOf(fields, SOCKET.localPort),
        remoteAddress,
        remotePort: numberOf(fields, SOCKET.remotePort),
      },
    ];
  });
}

/** Pure: from tcp-stream-<inode>.img, whose one record the queued data follows. */
export function expectedSequence(stream: Uint8Array): number {
  const [record] = readRecords(stream, 1);
  return record === undefined ? 0 : numberOf(readFields(record), STREAM_EXPECTED);
}

/** CRIU keeps the kernel's words as they lie in memory. An IPv4 address in a socket of IPv6 is given as IPv4. */
function addressOf(family: number, words: readonly number[]): string | null {
  const bytes = words.flatMap((word) => [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, (word >>> 24) & 0xff]);
  if (family === INET && words.length === 1) return bytes.join(".");
  if (family !== INET6 || words.length !== 4) return null;
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (mapped) return bytes.slice(12).join(".");
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  );
  return groups.join(":");
}

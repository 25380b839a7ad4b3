/** Archives that the kernel unpacks as its first root file system: cpio, format "newc". Several may follow each other. */

export interface CpioEntry {
  /** Absolute path. Directories above it are made. */
  readonly path: string;
  readonly content: Uint8Array | string;
  /** Permission bits. */
  readonly mode: number;
}

const DIRECTORY = 0o040755;
const REGULAR = 0o100000;
const TRAILER = "TRAILER!!!";
/** Every part begins at a multiple of this many bytes. */
const ALIGNMENT = 4;

export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  const add = (name: string, mode: number, content: Buffer) => parts.push(record(inode++, name, mode, content));
  for (const directory of directoriesOf(entries)) add(directory, DIRECTORY, Buffer.alloc(0));
  for (const { path, content, mode } of entries) add(relative(path), REGULAR | mode, Buffer.from(content));
  add(TRAILER, 0, Buffer.alloc(0));
  return Buffer.concat(parts);
}

function relative(path: string): string {
  return path.replace(/^\/+/, "");
}

/** Every directory above an entry, parents first. */
function directoriesOf(entries: readonly CpioEntry[]): string[] {
  const directories = new Set<string>();
  for (const { path } of entries) {
    const names = relative(path).split("/").slice(0, -1);
    for (let depth = 1; depth <= names.length; depth++) directories.add(names.slice(0, depth).join("/"));
  }
  return [...directories].sort();
}

function record(inode: number, name: string, mode: number, content: Buffer): Buffer {
  const links = 1;
  // Inode, mode, user, group, links, time, size, device and special device in two halves each, length of the name, sum.
  const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
  return Buffer.concat([padded(Buffer.from(head, "latin1")), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((ALIGNMENT - (bytes.length % ALIGNMENT)) % ALIGNMENT)]);
}

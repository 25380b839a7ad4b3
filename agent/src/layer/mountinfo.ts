/** /proc/<pid>/mountinfo. Pure. */

export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** "major:minor" of the file system. */
  readonly device: string;
  /** The part of the file system that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: ReadonlySet<string>;
  readonly fileSystem: string;
  readonly source: string;
  /** Options of the file system; those without value have "". */
  readonly superOptions: ReadonlyMap<string, string>;
}

export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split("\n")) {
    const [before, after] = line.split(" - ");
    if (before === undefined || after === undefined) continue;
    const [id, parentId, device, root, mountPoint, options] = before.split(" ");
    const [fileSystem, source, superOptions] = after.split(" ");
    mounts.push({
      id: Number(id),
      parentId: Number(parentId),
      device: device ?? "",
      root: unescape(root ?? ""),
      mountPoint: unescape(mountPoint ?? ""),
      options: new Set((options ?? "").split(",")),
      fileSystem: fileSystem ?? "",
      source: unescape(source ?? ""),
      superOptions: parseOptions(superOptions ?? ""),
    });
  }
  return mounts;
}

function parseOptions(text: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const option of text.split(",")) {
    const equals = option.indexOf("=");
    if (equals === -1) options.set(option, "");
    else options.set(option.slice(0, equals), unescape(option.slice(equals + 1)));
  }
  return options;
}

/** The kernel writes space, tab, newline, backslash and comma as octal escapes. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

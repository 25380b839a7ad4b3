/** Owner, mode and attributes of a file, as it is and as tar sends it: a copy that is only mended keeps what was sent. */
import { fstatSync } from "node:fs";
import { attributesOf } from "./file-metadata.ts";
import { OVERLAY_PRIVATE } from "./tar-command.ts";
import type { TarMember } from "./tar-filter.ts";

/** The kernel takes capabilities off a file that is written to, on the copy, too; tar has ACLs as text. */
const UNFIT = /^(?:security\.capability$|system\.)/;
/** What does not travel. */
const NOT_CARRIED: ReadonlySet<string> = new Set([
  ...OVERLAY_PRIVATE.map((name) => `trusted.overlay.${name}`),
  "security.selinux",
]);
const PERMISSIONS = 0o7777;
const ATTRIBUTE_RECORD = "SCHILY.xattr.";

export interface Metadata {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Byte strings by name, of those that travel. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** Of an open file; undefined if it has attributes that make it unfit. */
export function metadataOf(fd: number): Metadata | undefined {
  const { mode, uid, gid } = fstatSync(fd);
  const attributes = [...attributesOf(fd)].filter(([name]) => !NOT_CARRIED.has(name));
  if (attributes.some(([name]) => UNFIT.test(name))) return undefined;
  return { mode: mode & PERMISSIONS, uid, gid, attributes: new Map(attributes) };
}

/** As it is sent. */
export function metadataIn({ mode, uid, gid, records }: TarMember): Metadata {
  const attributes = [...records]
    .filter(([keyword]) => keyword.startsWith(ATTRIBUTE_RECORD))
    .map(([keyword, value]): [string, string] => [keyword.slice(ATTRIBUTE_RECORD.length), `=${value}`])
    .filter(([name]) => !NOT_CARRIED.has(name));
  return { mode, uid, gid, attributes: new Map(attributes) };
}

export function isSame(one: Metadata, other: Metadata): boolean {
  return (
    one.mode === other.mode &&
    one.uid === other.uid &&
    one.gid === other.gid &&
    one.attributes.size === other.attributes.size &&
    [...one.attributes].every(([name, value]) => other.attributes.get(name) === value)
  );
}

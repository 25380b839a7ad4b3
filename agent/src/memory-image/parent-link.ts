/** How an image directory of CRIU names the one of the round before: a symbolic link beside it, `parent` → `../N`. */
import { readlink, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/** CR_PARENT_LINK in criu/include/image.h. */
const LINK = "parent";
/** Relative, so that it is right on every host; and nowhere but to a sibling. */
const TARGET = /^\.\.\/([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/;

/** The parent's directory; null if it has none. Throws CORRUPT_STREAM if the link leads anywhere else. */
export async function parentOf(directory: string): Promise<string | null> {
  let target: string;
  try {
    target = await readlink(join(directory, LINK));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new DrayError("CORRUPT_STREAM", `${join(directory, LINK)} is no link`, { cause: error });
  }
  const name = TARGET.exec(target)?.[1];
  if (name === undefined) throw new DrayError("CORRUPT_STREAM", `${join(directory, LINK)} leads to ${target}`);
  return join(dirname(directory), name);
}

/** Makes the sibling with this name the parent. */
export async function setParent(directory: string, name: string): Promise<void> {
  const target = `../${name}`;
  if (!TARGET.test(target)) throw new DrayError("BAD_REQUEST", `${name} is no name of an image directory`);
  await symlink(target, join(directory, LINK));
}

/**
 * What CRIU calls its images: `imgset_template` in criu/image-desc.c of its
 * sources, and https://criu.org/Images for what is in them.
 */

const IMAGE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const SYSTEM_V_MEMORY = /^ipcns-shm-\d+\.img$/;

/** runc's own among CRIU's: where the first descriptors of the container's init lead. */
export const DESCRIPTORS_IMAGE = "descriptors.json";

/** A name that an image may have; nothing that could leave the directory. Those of tmpfs contents end in `.tar.gz`. */
export function isImageName(name: string): boolean {
  return IMAGE_NAME.test(name);
}

/** System V shared memory: the one content of memory that is not with the pages. */
export function isSystemVMemoryImage(name: string): boolean {
  return SYSTEM_V_MEMORY.test(name);
}

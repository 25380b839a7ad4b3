/** Room for images on their way. */
import type { TestLab } from "./test-lab.ts";

/** Where they lie on a node: on tmpfs, or on disk. */
export const IMAGE_DIRECTORIES = ["/run/drayage/images", "/var/lib/drayage/images"];

/** Small file systems of their own there, for as long as `body` takes. `size` as mount(8) has it. */
export async function withImageRoom(
  lab: TestLab,
  node: string,
  size: string,
  body: () => Promise<void>,
): Promise<void> {
  const mounted: string[] = [];
  try {
    for (const directory of IMAGE_DIRECTORIES) {
      await lab.exec(node, ["mkdir", "-p", "-m", "0700", directory]);
      await lab.exec(node, ["mount", "-t", "tmpfs", "-o", `size=${size},mode=0700`, "images", directory]);
      mounted.push(directory);
    }
    await body();
  } finally {
    for (const directory of mounted) await lab.exec(node, ["umount", directory]);
  }
}

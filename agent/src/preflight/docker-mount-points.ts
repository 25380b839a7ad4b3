/** Where Docker mounts single things in a container. */
import type { ContainerInspect } from "../docker/types.ts";

/** The init for `--init`, which may also be Docker's default, and the files that Docker writes for a container. */
const FILES_OF_DOCKER = ["/sbin/docker-init", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];

/** As Docker names them: symbolic links of the container are not followed. Without the trees that every container has. */
export function dockerMountPoints({ Mounts, HostConfig }: ContainerInspect): string[] {
  const tmpfs = Object.keys((HostConfig.Tmpfs ?? {}) as Readonly<Record<string, string>>);
  const masked = [HostConfig.MaskedPaths, HostConfig.ReadonlyPaths].flatMap((paths) =>
    Array.isArray(paths) ? paths.map(String) : [],
  );
  return [...(Mounts ?? []).map(({ Destination }) => Destination), ...tmpfs, ...masked, ...FILES_OF_DOCKER];
}

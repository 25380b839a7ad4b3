/**
 * The sysctls of a container's network namespace (`--sysctl net.…`, and those
 * that Docker gives everybody). `runc restore` does not set them, and CRIU
 * takes the namespace as it is; those of other namespaces are in its images.
 */
import { DrayError } from "@drayage/shared/errors/dray-error.ts";

/**
 * One `path below /proc/sys=value` a line, for the network hook: before the
 * sockets are restored, since some hold for what is made after them. Pure.
 * Throws DrayError BAD_REQUEST for a value that is no single line.
 */
export function networkSysctls(configJson: string): string {
  const config = JSON.parse(configJson) as { linux?: { sysctl?: Readonly<Record<string, unknown>> | null } };
  return Object.entries(config.linux?.sysctl ?? {})
    .map(([name, value]) => [name.replaceAll(".", "/"), value] as const)
    .filter(([path]) => path.startsWith("net/"))
    .map(([path, value]) => {
      if (typeof value !== "string" || /[\n\0]/.test(path + value)) {
        throw new DrayError("BAD_REQUEST", `the sysctl ${path} of the bundle has no value that fits on a line`);
      }
      return `${path}=${value}\n`;
    })
    .join("");
}

/** What Docker says of how it secures containers: `name=seccomp,profile=builtin`, `name=rootless`, `name=userns`. */
import type { DockerInfo } from "./types.ts";

export function hasSecurityOption(info: Pick<DockerInfo, "SecurityOptions">, name: string): boolean {
  return (info.SecurityOptions ?? []).some((option) => option.split(",").includes(`name=${name}`));
}

import type { ContainerInspect, RestartPolicy } from "./types.ts";

/** The restart policy that a container has now, nothing left out; Docker leaves it out where it is "no". */
export function restartPolicyOf(inspect: ContainerInspect): Required<RestartPolicy> {
  const policy = inspect.HostConfig["RestartPolicy"] as unknown as RestartPolicy | null | undefined;
  return { Name: policy?.Name || "no", MaximumRetryCount: policy?.MaximumRetryCount ?? 0 };
}

/** Restart policies after which Docker starts a container with itself. */
export const STARTS_WITH_DOCKER: ReadonlySet<string> = new Set(["always", "unless-stopped"]);
